"""A civitas worker with one agent, `summarizer`, for the example beside it.

    civitas_worker.py PUB_ADDR SUB_ADDR

It ends when its standard input does, so it does not outlive who started it.
"""

import asyncio
import os
import sys

from civitas.process import AgentProcess
from civitas.worker import Worker


class Summarizer(AgentProcess):
    """Counts words. Told to crash, it does."""

    async def on_start(self):
        self.handled = 0

    async def handle(self, message):
        if message.type == "crash":
            raise RuntimeError("as you wish")
        self.handled += 1
        words = len(message.payload["text"].split())
        return self.reply({"words": words, "handled": self.handled, "pid": os.getpid()})


async def main(pub_addr, sub_addr):
    agents = [Summarizer("summarizer")]
    worker = Worker(agents=agents, transport="zmq", zmq_pub_addr=pub_addr, zmq_sub_addr=sub_addr)
    await worker.start()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await worker.stop()


asyncio.run(main(*sys.argv[1:]))
