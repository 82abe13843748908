"""A real civitas Worker with agents that tests drive: what Lictor supervises.

    civitas_worker.py zmq PUB_ADDR SUB_ADDR NAME...
    civitas_worker.py nats SERVER NAME...

Prints one line of JSON when it is ready, and one for each start of an agent. Ends on SIGTERM.
"""

import asyncio
import json
import os
import signal
import sys

from civitas.process import AgentProcess
from civitas.worker import Worker


def say(**line):
    print(json.dumps(line), flush=True)


class Played(AgentProcess):
    """Answers with what it was sent; crashes, counts, streams or kills its process when told to."""

    async def on_start(self):
        self.handled = 0
        say(event="started", name=self.name, pid=os.getpid())

    async def handle(self, message):
        self.handled += 1
        match message.type:
            case "crash":
                raise RuntimeError("on purpose")
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "count":
                return self.reply({"count": self.handled, "pid": os.getpid()})
            case "slow":
                await asyncio.sleep(message.payload["seconds"])
                return self.reply({"slept": True})
            case "tell":
                return None
            case "note":
                say(event="note", n=message.payload["n"])
            case "stream":
                async with self.stream_reply() as stream:
                    for number in range(message.payload["chunks"]):
                        await stream.send({"n": number})
            case _:
                return self.reply({"echo": message.payload, "from": message.sender})


async def main(kind, *rest):
    if kind == "zmq":
        pub, sub, *names = rest
        how = {"zmq_pub_addr": pub, "zmq_sub_addr": sub}
    else:
        server, *names = rest
        how = {"nats_servers": server}
    worker = Worker(agents=[Played(name) for name in names], transport=kind, **how)
    await worker.start()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    say(event="ready", id=worker.id, pid=os.getpid())
    await ended.wait()
    await worker.stop()
    say(event="stopped")


asyncio.run(main(*sys.argv[1:]))
