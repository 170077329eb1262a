"""A client that starts a command, allows it to send very much, and then reads nothing: `deaf.py KEY COMMAND PROXY ..`."""

import asyncio
import os
import signal
import sys

import asyncssh


async def main(key, command, *proxy):
    options = {"username": "root", "client_keys": [key], "known_hosts": None, "agent_path": None, "config": None}
    async with asyncssh.connect("box", proxy_command=proxy, **options) as connection:
        await connection.create_process(command, encoding=None, window=1 << 30)
        os.kill(os.getpid(), signal.SIGSTOP)


asyncio.run(main(*sys.argv[1:]))
