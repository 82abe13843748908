"""Measures with brokers side by side: every cell in fresh processes, in turn, the best of N.

`run` calls it; the rows are JSON lines on standard output, the table is on standard error.
"""

import argparse
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
PEERS = HERE.parent.parent / "tests" / "peers"
OURS = os.environ["LICTOR_BROKERS"]
BODY = "." * 200


class Process:
    """A role."""

    def __init__(self, *command):
        self.command = [str(word) for word in command]
        pipe = subprocess.PIPE
        quiet = None if os.environ.get("LOUD") else subprocess.DEVNULL
        self.child = subprocess.Popen(
            self.command, stdin=pipe, stdout=pipe, stderr=quiet, text=True
        )

    def line(self):
        while line := self.child.stdout.readline():
            if line.startswith(("ready", "{")):
                return line.strip()
        raise RuntimeError(f"it has ended: {self.command}")

    def ready(self):
        line = self.line()
        if "ready" not in line:
            raise RuntimeError(f"{self.command}: {line}")
        return self

    def event(self, name):
        while json.loads(self.line()).get("event") != name:
            pass
        return self

    def result(self):
        return json.loads(self.line())

    def act(self, **command):
        self.child.stdin.write(json.dumps(command) + "\n")
        self.child.stdin.flush()
        return self.result()

    def end(self):
        self.child.stdin.close()
        try:
            self.child.wait(5)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Nats:
    def __init__(self):
        self.port = port()
        self.child = subprocess.Popen(
            [os.environ["LICTOR_NATS_SERVER"], "-a", "127.0.0.1", "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                break
            except OSError:
                time.sleep(0.02)
        self.place = ["nats", f"nats://127.0.0.1:{self.port}"]

    def end(self):
        self.child.terminate()
        self.child.wait()


class Zmq:
    def __init__(self, whose):
        pub, sub = (f"tcp://127.0.0.1:{port()}" for _ in range(2))
        program = [OURS] if whose == "ours" else [sys.executable, HERE / "libzmq.py"]
        self.forwarder = Process(*program, "forward", pub, sub).ready()
        self.place = ["zmq", pub, sub]

    def end(self):
        self.forwarder.end()


def roles(level, place):
    """How a role of a level is started."""
    if level == "libzmq":
        return lambda role, *rest: Process(sys.executable, HERE / "libzmq.py", role, *place[1:], *rest)
    return lambda role, *rest: Process(OURS, role, level, *place, *rest)


def send(broker, level, count):
    start = roles(level, broker.place)
    hear = start("hear", count).ready()
    speak = start("speak", count).ready()
    heard, spoken = hear.result(), speak.result()
    speak.end()
    hear.end()
    cpu = (heard["cpu"] + spoken["cpu"]) / count * 1e9
    return {"per_s": count / heard["seconds"], "cpu_ns": cpu}


def ask(broker, level, count, flight):
    start = roles(level, broker.place)
    echo = start("echo").ready()
    asks = start("ask", count, flight).ready()
    asked = asks.result()
    asks.end()
    echo.end()
    took = {"per_s": count / asked["seconds"], "cpu_ns": asked["cpu"] / count * 1e9}
    return took | {"p50_us": asked["p50"], "p99_us": asked["p99"]}


def civitas_runtime(broker, serves):
    """A civitas runtime that knows the agent `played`, and who serves it."""
    if serves == "civitas":
        script = PEERS / "civitas_worker.py"
        runtime = Process(sys.executable, PEERS / "civitas_runtime.py", *broker.place).event("ready")
        worker = Process(sys.executable, script, *broker.place, "played").event("ready")
    else:
        runtime = Process(sys.executable, PEERS / "civitas_runtime.py", *broker.place).event("ready")
        worker = Process(OURS, "serve", *broker.place).ready()
    for _ in range(600):
        if "played" in runtime.act(op="names")["names"]:
            return runtime, worker
        time.sleep(0.05)
    raise RuntimeError("civitas does not learn the name")


def civitas_ask(broker, serves, count):
    runtime, worker = civitas_runtime(broker, serves)
    payload = {"body": BODY}
    runtime.act(op="bench_ask", to="played", payload=payload, count=50)
    result = runtime.act(op="bench_ask", to="played", payload=payload, count=count)
    times = sorted(result["times"])
    runtime.end()
    end(worker)
    return {"per_s": count / sum(times), "p50_us": times[count // 2] * 1e6}


def civitas_send(broker, serves, count):
    runtime, worker = civitas_runtime(broker, serves)
    result = runtime.act(op="bench_send", to="played", payload={"body": BODY}, count=count)
    runtime.end()
    end(worker)
    if result.get("counted", 0) < count:
        raise RuntimeError(f"lost: {result}")
    return {"per_s": count / result["seconds"]}


def we_ask_civitas(broker, count):
    # A civitas worker says once that it is there, so we are there before.
    call = Process(OURS, "call", *broker.place, count)
    time.sleep(1)
    worker = Process(sys.executable, PEERS / "civitas_worker.py", *broker.place, "played")
    worker.event("ready")
    call.ready()
    asked = call.result()
    call.end()
    end(worker)
    return {"per_s": count / asked["seconds"], "p50_us": asked["p50"]}


def end(worker):
    """A civitas worker ends by a signal."""
    worker.child.terminate()
    worker.end()


def cells(quick):
    """Name of the row, name of the column, broker, and what is measured. A row's first is the floor."""
    sends, small, asks = (100_000, 30_000, 3_000) if quick else (500_000, 100_000, 10_000)
    flies, foreign = asks * 5, 300 if quick else 1_000
    ours, theirs = (lambda: Zmq("ours")), (lambda: Zmq("libzmq"))
    for name, broker, floor, levels in (
        ("NATS", Nats, "raw async-nats", ["raw", "broker", "runtime"]),
        ("ZeroMQ", ours, "libzmq", ["libzmq", "broker", "runtime"]),
    ):
        for level in levels:
            zmq = level == "libzmq"
            at, column = (theirs, "libzmq") if zmq else (broker, floor if level == "raw" else level)
            total = small if level == "runtime" else sends
            yield f"{name} send", column, at, lambda b, v=level, n=total: send(b, v, n)
            yield f"{name} ask, one", column, at, lambda b, v=level: ask(b, v, asks, 1)
            yield f"{name} ask, 64", column, at, lambda b, v=level: ask(b, v, flies, 64)
    for name, broker in (("NATS", Nats), ("ZeroMQ", ours)):
        for serves in ("civitas", "lictor"):
            row = f"civitas on {name}"
            ask_one = lambda b, s=serves: civitas_ask(b, s, foreign)
            yield f"{row}, ask", f"served by {serves}", broker, ask_one
            send_all = lambda b, s=serves: civitas_send(b, s, foreign * 3)
            yield f"{row}, send", f"served by {serves}", broker, send_all
        yield f"{row}, ask", "Lictor asks civitas", broker, lambda b: we_ask_civitas(b, foreign)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--best", type=int)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    best_of = options.best or (1 if options.quick else 3)
    wanted = [cell for cell in cells(options.quick) if options.only.lower() in cell[0].lower()]
    best = {}
    # In turn, so that what else the machine does falls upon all of them.
    for _ in range(best_of):
        for row, column, make, measure in wanted:
            broker = make()
            try:
                result = measure(broker)
            finally:
                broker.end()
            print(json.dumps({"row": row, "column": column} | result), flush=True)
            cell = best.setdefault(row, {}).setdefault(column, result)
            for key, value in result.items():
                pick = max if key == "per_s" else min
                cell[key] = pick(cell[key], value)
    table(best)


def table(best):
    out = ["| | | per s | ratio | p50, µs | ratio | CPU, µs | ratio |", "|---|---|---|---|---|---|---|---|"]
    for row, columns in best.items():
        floor = next(iter(columns.values()))
        for column, cell in columns.items():
            words = [row, column]
            for key, scale, form in (("per_s", 1, ",.0f"), ("p50_us", 1, ",.0f"), ("cpu_ns", 1e-3, ".1f")):
                value = cell.get(key)
                words += ["", ""] if value is None else [
                    format(value * scale, form),
                    f"{value / floor[key]:.2f}" if floor.get(key) else "",
                ]
            out.append("| " + " | ".join(words) + " |")
            row = ""
    print("\n".join(out), file=sys.stderr)


main()
