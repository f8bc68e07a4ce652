"""get.py HOST PORT PATH [WAITS_FOR_FILE PATH]: GETs, one after the other on one connection; prints each status."""
import http.client
import os
import sys
import time

host, port, first, *later = sys.argv[1:]
connection = http.client.HTTPConnection(host, int(port))


def get(path):
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    print(response.status, flush=True)


get(first)
while later:
    wait_for, path, *later = later
    while not os.path.exists(wait_for):
        time.sleep(0.02)
    get(path)
