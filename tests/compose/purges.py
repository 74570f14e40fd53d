"""Purges at one control, each repeated until it is taken; a line "TIME REFERENCE" for each.

    purges.py URL TOKEN FILE
"""

import http.client
import json
import signal
import sys
import time
from urllib.parse import urlsplit

PATIENCE = 20


def main(url, token, file):
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    address = urlsplit(url).netloc
    with open(file, "w", buffering=1) as lines:
        number = 0
        while not ended:
            number += 1
            reference = f"n{number}"
            body = json.dumps({"paths": [f"/nowhere/{number}"], "reference": reference, "wait_ms": 0})
            end = time.monotonic() + PATIENCE
            while (answered := status(address, token, body)) not in (200, 202):
                if time.monotonic() > end:
                    sys.exit(f"{reference} was not taken in {PATIENCE} s: {answered}")
                time.sleep(0.01)
            lines.write(f"{time.monotonic():.3f} {reference}\n")
            time.sleep(0.01)


def status(address, token, body):
    connection = http.client.HTTPConnection(address, timeout=10)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        connection.request("POST", "/v1/purges", body, headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return str(error)
    finally:
        connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
