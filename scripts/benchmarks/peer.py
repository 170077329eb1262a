"""peer.py serve PORT | ask ADDRESS PORT WHAT..: a server and its client, on either side of what is measured.

The client prints a number for each WHAT: `up` and `down` in Gbit/s, `connect` in µs for each connection. Or: peer.py status RUNS:
the median time of `git status` here, in ms.
"""

import socket
import statistics
import subprocess
import sys
import threading
import time

BLOCK = bytearray(1 << 20)
SECONDS = 1


def receive(stream):
    """Bits per second, from the first byte to the last."""
    size = stream.recv_into(BLOCK)
    begun = time.monotonic()
    total = 0
    while size:
        size = stream.recv_into(BLOCK)
        total += size
    return 8 * total / (time.monotonic() - begun)


def send(stream):
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        stream.sendall(BLOCK)
    stream.shutdown(socket.SHUT_WR)


def handle(stream):
    with stream:
        what = stream.recv(1)
        if what == b"d":
            send(stream)
        elif what == b"u":
            stream.sendall(b"%d\n" % receive(stream))


def serve(port):
    with socket.create_server(("", int(port)), backlog=1024) as listener:
        print("ready", flush=True)
        while True:
            threading.Thread(target=handle, args=[listener.accept()[0]]).start()


def ask(address, port, *whats):
    to = (address, int(port))
    for what in whats:
        if what == "connect":
            times = []
            for _ in range(200):
                begun = time.monotonic()
                socket.create_connection(to).close()
                times.append(1e6 * (time.monotonic() - begun))
            print(statistics.median(times))
            continue
        with socket.create_connection(to) as stream:
            stream.settimeout(SECONDS)
            stream.sendall(what[0].encode())
            try:
                if what == "down":
                    print(receive(stream) / 1e9)
                else:
                    send(stream)
                    print(int(stream.makefile().readline()) / 1e9)
            except TimeoutError:
                # It stands still: nothing is what passes.
                print(0)


def status(runs):
    times = []
    for _ in range(int(runs)):
        begun = time.monotonic()
        subprocess.run(["git", "status", "--porcelain"], check=True, capture_output=True)
        times.append(1e3 * (time.monotonic() - begun))
    print(statistics.median(times))


{"serve": serve, "ask": ask, "status": status}[sys.argv[1]](*sys.argv[2:])
