"""A client or the proxy of libzmq, steered by a test over standard input and output.

    zmq_peer.py proxy PUB_ADDR SUB_ADDR
    zmq_peer.py client PUB_ADDR SUB_ADDR

A client takes "publish SUBJECT NUMBER FROM SIZE", "subscribe SUBJECT", "stall", "read" and "leave",
and prints "ready" when both its sockets are connected, "lost" when one is no more, and "message NUMBER
FROM" for each message. A subject on the wire ends with a zero byte, as ours do. The marks are low, so
that a test reaches them.
"""

import os
import struct
import sys

import zmq
from zmq.utils.monitor import recv_monitor_message

MARK = 10


def say(*words):
    print(*words, flush=True)


def proxy(pub, sub):
    context = zmq.Context.instance()
    front, back = context.socket(zmq.XSUB), context.socket(zmq.XPUB)
    back.set(zmq.SNDHWM, MARK)
    front.bind(pub)
    back.bind(sub)
    say("ready")
    zmq.proxy(front, back)


def client(pub, sub):
    context = zmq.Context.instance()
    speaks, hears = context.socket(zmq.PUB), context.socket(zmq.SUB)
    hears.set(zmq.RCVHWM, MARK)
    watches = {}
    for sock, address in ((speaks, pub), (hears, sub)):
        sock.set(zmq.LINGER, 0)
        watches[sock] = sock.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        )
        sock.connect(address)
    poller = zmq.Poller()
    for watch in watches.values():
        poller.register(watch, zmq.POLLIN)
    poller.register(hears, zmq.POLLIN)
    poller.register(0, zmq.POLLIN)
    connected, rest = 0, b""
    while True:
        found = dict(poller.poll())
        for watch in watches.values():
            if watch in found:
                event = recv_monitor_message(watch)["event"]
                connected += 1 if event == zmq.EVENT_HANDSHAKE_SUCCEEDED else -1
                if event == zmq.EVENT_DISCONNECTED:
                    say("lost")
                elif connected == 2:
                    say("ready")
        if hears in found:
            body = hears.recv_multipart()[1]
            say("message", *struct.unpack(">IB", body[:5]))
        if 0 in found:
            some = os.read(0, 65536)
            if not some:
                return
            *lines, rest = (rest + some).split(b"\n")
            for line in lines:
                match line.decode().split():
                    case ["publish", subject, number, sender, size]:
                        body = struct.pack(">IB", int(number), int(sender)).ljust(int(size), b".")
                        speaks.send_multipart([subject.encode() + b"\0", body])
                    case ["subscribe", subject]:
                        hears.set(zmq.SUBSCRIBE, subject.encode() + b"\0")
                    case ["stall"]:
                        poller.unregister(hears)
                    case ["read"]:
                        poller.register(hears, zmq.POLLIN)
                    case ["leave"]:
                        context.destroy(linger=0)
                        return


if __name__ == "__main__":
    {"proxy": proxy, "client": client}[sys.argv[1]](*sys.argv[2:])
