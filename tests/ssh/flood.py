"""A client that opens channels without end: `flood.py KEY PROXY ..`. Another implementation than OpenSSH's, which is too polite."""

import asyncio
import sys

import asyncssh


async def main(key, *proxy):
    options = {"username": "root", "client_keys": [key], "known_hosts": None, "agent_path": None, "config": None}
    async with asyncssh.connect("box", proxy_command=proxy, **options) as connection:
        opened, refused = [], 0
        for _ in range(300):
            try:
                opened.append(await connection.create_process("read x; echo $x; exit 3"))
            except asyncssh.ChannelOpenError as error:
                assert error.code == asyncssh.OPEN_RESOURCE_SHORTAGE, error
                refused += 1
        print(len(opened), refused)
        # All of them work, and one that goes makes room for one that comes.
        for _ in range(2):
            for process in opened:
                process.stdin.write("on\n")
            ended = [await process.wait() for process in opened]
            print({(process.stdout, process.exit_status) for process in ended})
            opened = [await connection.create_process("read x; echo $x; exit 4")]


asyncio.run(main(*sys.argv[1:]))
