"""A real civitas Runtime that tests drive: what reaches Lictor's agents.

    civitas_runtime.py zmq PUB_ADDR SUB_ADDR [--proxy] [--supervise NAME]
    civitas_runtime.py nats SERVER [--supervise NAME]
    civitas_runtime.py topology FILE

Reads one command of JSON a line, and prints one result of JSON a line. Ends with its input.
"""

import asyncio
import json
import sys
import time
import traceback

from civitas.messages import Message
from civitas.process import AgentProcess
from civitas.runtime import Runtime
from civitas.supervisor import Supervisor


class Caller(AgentProcess):
    """Does from inside the tree what a command says, and keeps what comes to it."""

    async def on_start(self):
        self.heard = []

    async def handle(self, message):
        if message.type != "do":
            self.heard.append({"type": message.type, "payload": message.payload})
            return None
        command = message.payload
        match command["op"]:
            case "ask":
                answer = await self.ask(command["to"], command["payload"], timeout=10.0)
                return self.reply({"answer": answer.payload, "sender": answer.sender})
            case "send_capable":
                await self.send_capable(command["tag"], command["payload"], command["type"])
                return self.reply({})
            case "broadcast":
                await self.broadcast(command["pattern"], command["payload"])
                return self.reply({})
            case "stream":
                chunks = []
                async for chunk in self.stream(command["to"], command["payload"], command["type"]):
                    chunks.append(chunk)
                return self.reply({"chunks": chunks})
            case "heard":
                return self.reply({"heard": self.heard})


async def act(runtime, command):
    match command["op"]:
        case "names":
            return {"names": sorted(runtime._registry.all_names())}
        case "glob":
            found = runtime._registry.lookup_all(command["pattern"])
            return {"names": sorted(entry.name for entry in found)}
        case "ask":
            answer = await runtime.ask(
                command["to"],
                command["payload"],
                timeout=command.get("timeout", 10.0),
                message_type=command.get("type", "message"),
            )
            return {"answer": answer.payload, "sender": answer.sender}
        case "send":
            await runtime.send(command["to"], command["payload"], command.get("type", "message"))
            return {}
        case "bench_ask":
            # As fast as it goes, one at a time.
            times = []
            for _ in range(command["count"]):
                start = time.perf_counter()
                await runtime.ask(command["to"], command["payload"], timeout=10.0)
                times.append(time.perf_counter() - start)
            return {"times": times}
        case "bench_send":
            # Until the receiver has counted all of them.
            start = time.perf_counter()
            for _ in range(command["count"]):
                await runtime.send(command["to"], command["payload"], "tell")
            counted = 0
            while counted < command["count"] and time.perf_counter() - start < 60:
                answer = await runtime.ask(command["to"], {}, timeout=60.0, message_type="count")
                counted = answer.payload["count"]
            return {"seconds": time.perf_counter() - start, "counted": counted}
        case "restart":
            order = Message(
                type="_agency.restart",
                sender="_runtime",
                recipient="_agency.worker.restart",
                payload={"agent_name": command["agent_name"]},
            )
            data = runtime._serializer.serialize(order)
            await runtime._transport.publish("_agency.worker.restart", data)
            return {}
        case "direct":
            # With signing on, a civitas runtime cannot send; its agents can.
            caller = runtime.get_agent("caller")
            answer = await caller.ask(command["to"], command["payload"], timeout=10.0)
            return {"answer": answer.payload, "sender": answer.sender}
        case "inside":
            answer = await runtime.ask("caller", command["do"], timeout=20.0, message_type="do")
            return answer.payload
        case "trust":
            runtime._key_registry.register_b64(command["name"], command["key"])
            return {}
    raise ValueError(command["op"])


def build(kind, rest):
    root = Supervisor("root", children=[Caller("caller")], backoff_base=0.05)
    if "--supervise" in rest:
        name = rest[rest.index("--supervise") + 1]
        root.add_remote_child(
            name, heartbeat_interval=0.2, heartbeat_timeout=0.5, missed_heartbeats_threshold=3
        )
    if kind == "zmq":
        pub, sub, *flags = rest
        how = {"zmq_pub_addr": pub, "zmq_sub_addr": sub, "zmq_start_proxy": "--proxy" in flags}
    elif kind == "nats":
        how = {"nats_servers": rest[0]}
    else:
        # A topology with signing: its agents are the same.
        runtime = Runtime.from_config(rest[0], agent_classes={"Caller": Caller})
        return runtime
    return Runtime(supervisor=root, transport=kind, **how)


async def main(kind, *rest):
    runtime = build(kind, rest)
    await runtime.start()
    print(json.dumps({"event": "ready"}), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            result = await act(runtime, json.loads(line))
        except Exception as error:  # noqa: BLE001: every failure is a result
            result = {"error": f"{type(error).__name__}: {error}"}
            print(traceback.format_exc(), file=sys.stderr)
        print(json.dumps(result), flush=True)
    await runtime.stop()


asyncio.run(main(*sys.argv[1:]))
