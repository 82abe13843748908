"""A peer on libzmq, steered over standard input and output, a line at a time.

proxy PUB SUB [SECRET]   binds XSUB at PUB and XPUB at SUB and forwards, as civitas does
pub ADDR [KEYS]          sends each line "TOPIC COUNT SIZE": COUNT messages of SIZE bytes, numbered
sub ADDR [KEYS]          takes "+PREFIX" and "-PREFIX"; prints "TOPIC NUMBER SIZE" for each message

TOPIC and PREFIX have a zero byte where the text has "~". KEYS are the public key of the server, the
public key and the secret key of the client, in Z85, with commas that Z85 does not have.
"""

import sys
import threading

import zmq


def say(*words):
    print(*words, flush=True)


def plain(sock):
    sock.set(zmq.LINGER, 5000)
    sock.set(zmq.SNDHWM, 0)
    sock.set(zmq.RCVHWM, 0)
    sock.set(zmq.RECONNECT_IVL, 20)
    return sock


def client(kind, address, keys):
    sock = plain(zmq.Context.instance().socket(kind))
    if keys:
        server, public, secret = keys[0].split(",")
        sock.curve_serverkey = server.encode()
        sock.curve_publickey, sock.curve_secretkey = public.encode(), secret.encode()
    sock.connect(address)
    return sock


def proxy(pub, sub, secret=None):
    front = plain(zmq.Context.instance().socket(zmq.XSUB))
    back = plain(zmq.Context.instance().socket(zmq.XPUB))
    for sock, address in ((front, pub), (back, sub)):
        if secret:
            sock.curve_server = True
            sock.curve_secretkey = secret.encode()
        sock.bind(address)
    say("ready", front.last_endpoint.decode(), back.last_endpoint.decode())
    zmq.proxy(front, back)


def publish(address, *keys):
    sock = client(zmq.PUB, address, keys)
    say("ready")
    for line in sys.stdin:
        topic, count, size = line.split()
        for number in range(int(count)):
            body = str(number).encode().ljust(int(size), b".")
            sock.send_multipart([topic.replace("~", "\0").encode(), body])
        say("sent", topic, count)


def subscribe(address, *keys):
    sock = client(zmq.SUB, address, keys)
    wishes = zmq.Context.instance().socket(zmq.PAIR)
    wishes.bind("inproc://wishes")

    def listen():
        pair = zmq.Context.instance().socket(zmq.PAIR)
        pair.connect("inproc://wishes")
        for line in sys.stdin:
            pair.send_string(line.rstrip("\n"))

    threading.Thread(target=listen, daemon=True).start()
    say("ready")
    poller = zmq.Poller()
    poller.register(sock, zmq.POLLIN)
    poller.register(wishes, zmq.POLLIN)
    while True:
        found = dict(poller.poll())
        if wishes in found:
            wish = wishes.recv_string()
            prefix = wish[1:].replace("~", "\0").encode()
            sock.set(zmq.SUBSCRIBE if wish[0] == "+" else zmq.UNSUBSCRIBE, prefix)
            say("wish", wish)
        if sock in found:
            topic, *parts = sock.recv_multipart()
            body = b"".join(parts)
            number = body.rstrip(b".").decode() or "-"
            say(topic.decode().replace("\0", "~"), number, len(body))


if __name__ == "__main__":
    {"proxy": proxy, "pub": publish, "sub": subscribe}[sys.argv[1]](*sys.argv[2:])
