"""Clients of a node that count what they are refused.

visitors.py ADDRESS:PORT PATH STOP REPORT

Each client opens a connection, asks once and opens the next, until the file STOP exists, at most LONGEST. REPORT
gets the number of answers, then a line for each failure.
"""

import http.client
import os
import sys
import threading
import time

CLIENTS = 4
# Between two requests of a client, s: they do not take the machine from the upgrade.
PAUSE = 0.005
# s
LONGEST = 300

answers = 0
failures = []
lock = threading.Lock()


def visit(address, path, stop):
    """Asks again and again."""
    global answers
    end = time.monotonic() + LONGEST
    while not os.path.exists(stop) and time.monotonic() < end:
        connection = http.client.HTTPConnection(address, timeout=20)
        failure = None
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                failure = f"status {answer.status}"
        except (OSError, http.client.HTTPException) as error:
            failure = repr(error)
        finally:
            connection.close()
        with lock:
            answers += failure is None
            if failure:
                failures.append(failure)
        time.sleep(PAUSE)


def main():
    """Runs the clients to their end."""
    address, path, stop, report = sys.argv[1:]
    clients = [threading.Thread(target=visit, args=(address, path, stop)) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    with open(report + ".new", "w", encoding="utf-8") as file:
        file.write("\n".join([str(answers), *failures]) + "\n")
    os.rename(report + ".new", report)


main()
