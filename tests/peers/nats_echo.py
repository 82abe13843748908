"""A civitas Runtime on NATS with an agent `echo`, for the test of subjects.

Prints, as hex, what civitas would send to it, then `ready`, and runs until its input ends.
"""

import asyncio
import sys

from civitas import AgentProcess, Runtime, Supervisor
from civitas.messages import Message
from civitas.serializer import MsgpackSerializer


class Echo(AgentProcess):
    async def handle(self, message):
        return self.reply({"heard": message.payload["n"]})


async def main(server: str) -> None:
    question = Message(
        sender="lictor", recipient="echo", reply_to="_reply.lictor.1", correlation_id="c", payload={"n": 7}
    )
    print(MsgpackSerializer().serialize(question).hex(), flush=True)
    tree = Supervisor("root", children=[Echo("echo")])
    runtime = Runtime(supervisor=tree, transport="nats", nats_servers=server)
    await runtime.start()
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runtime.stop()


asyncio.run(main(sys.argv[1]))
