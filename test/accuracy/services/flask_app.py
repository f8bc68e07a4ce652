"""For gunicorn: a Flask application that calls with http.client."""
from flask import Flask

from hops import answer
from http_calls import fresh

app = Flask(__name__)


@app.get("/<hop>/<request_id>")
def handle(hop, request_id):
    return answer(f"/{hop}/{request_id}", fresh)
