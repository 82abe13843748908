"""The roles of `main.rs` on libzmq, through pyzmq: forward, hear, speak, echo, ask.

Marks are unlimited, so that nothing is dropped, and bodies have 200 bytes. Each role prints "ready",
then one line of JSON, and ends with its input.
"""

import json
import struct
import sys
import threading
import time

import zmq

BODY = b"." * 192


def say(**line):
    print(json.dumps(line), flush=True)


def ready():
    # A publisher learns of subscriptions by and by.
    time.sleep(1.0)
    print("ready", flush=True)


def sock(kind, address, bind=False):
    made = zmq.Context.instance().socket(kind)
    made.set(zmq.SNDHWM, 0)
    made.set(zmq.RCVHWM, 0)
    made.set(zmq.LINGER, 0)
    (made.bind if bind else made.connect)(address)
    return made


def listening(address, topic):
    made = sock(zmq.SUB, address)
    made.set(zmq.SUBSCRIBE, topic + b"\0")
    return made


def forward(pub, sub):
    front, back = sock(zmq.XSUB, pub, True), sock(zmq.XPUB, sub, True)
    ready()
    threading.Thread(target=zmq.proxy, args=(front, back), daemon=True).start()
    sys.stdin.read()


def hear(_, sub, count):
    heard, count = listening(sub, b"bench.hear"), int(count)
    ready()
    heard.recv_multipart()
    start, before = time.perf_counter(), time.process_time()
    for _ in range(count - 1):
        heard.recv_multipart()
    seconds = time.perf_counter() - start
    say(count=count, seconds=seconds, cpu=time.process_time() - before)
    sys.stdin.read()


def speak(pub, _, count):
    to = sock(zmq.PUB, pub)
    ready()
    before, body = time.process_time(), BODY + b"." * 8
    for _ in range(int(count)):
        to.send_multipart((b"bench.hear\0", body))
    say(cpu=time.process_time() - before)
    sys.stdin.read()


def echo(pub, sub):
    to, heard = sock(zmq.PUB, pub), listening(sub, b"bench.echo")
    ready()

    def answer():
        while True:
            _, body = heard.recv_multipart()
            to.send_multipart((b"bench.ask\0", body))

    threading.Thread(target=answer, daemon=True).start()
    sys.stdin.read()


def ask(pub, sub, count, flight):
    to, heard = sock(zmq.PUB, pub), listening(sub, b"bench.ask")
    count, flight = int(count), int(flight)
    ready()
    sent, times, warm = [], [], 200
    for at in range(warm + count):
        if at == warm:
            before, start = time.process_time(), time.perf_counter()
        wanted = at + (1 if at < warm else flight)
        while len(sent) < min(wanted, warm + count):
            body = struct.pack(">Q", len(sent)) + BODY
            sent.append(time.perf_counter())
            to.send_multipart((b"bench.echo\0", body))
        number = struct.unpack(">Q", heard.recv_multipart()[1][:8])[0]
        if at >= warm:
            times.append(time.perf_counter() - sent[number])
    seconds, used = time.perf_counter() - start, time.process_time() - before
    times.sort()
    us = [times[(count - 1) * part // 100] * 1e6 for part in (50, 99)]
    say(count=count, seconds=seconds, cpu=used, p50=us[0], p99=us[1])
    sys.stdin.read()


if __name__ == "__main__":
    roles = {"forward": forward, "hear": hear, "speak": speak, "echo": echo, "ask": ask}
    roles[sys.argv[1]](*sys.argv[2:])
