"""For gunicorn: answers GET /orders/ID/... with what another service has in stock for it, priced. STOCK_URL says where that is."""
import os
import threading

import requests
from flask import Flask, jsonify, request

app = Flask(__name__)
kept = threading.local()


def stock_of(order_id):
    if not hasattr(kept, "session"):
        kept.session = requests.Session()
    response = kept.session.get(f"{os.environ['STOCK_URL']}/stock/{order_id}", timeout=10)
    response.raise_for_status()
    return response.json()["items"]


@app.get("/orders/<order_id>/items")
def items(order_id):
    lines = [
        {"sku": item["sku"], "name": item["name"], "price": f"{item['price_cents'] / 100:.2f}", "left": item["available"]}
        for item in stock_of(order_id)
        if item["available"] > 0
    ]
    lines.sort(key=lambda line: line["name"])
    return jsonify(id=order_id, page=request.args.get("page", 1, type=int), lines=lines, total=f"{sum(float(line['price']) for line in lines):.2f}")
