"""A mail server of somebody else (aiosmtpd), for tests.

Usage: smtp_server.py plain|starttls|tls [CERT KEY USER PASSWORD]

Says `LISTEN host:port`, then each mail as one line of JSON. Ends with its standard input.
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.original_content, policy=email.policy.default)
        told = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": server.transport.get_extra_info("sslcontext") is not None,
            "user": session.authenticated,
            "id": mail["message-id"],
            "subject": mail["subject"],
            "text": mail.get_content(),
        }
        print(json.dumps(told), flush=True)
        return "250 taken"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"


async def main():
    mode, rest = sys.argv[1], sys.argv[2:]
    options, outer = {}, None
    if rest:
        cert, key, user, password = rest
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)

        def authenticate(server, session, envelope, mechanism, data):
            good = (data.login, data.password) == (user.encode(), password.encode())
            return AuthResult(success=good, handled=False)

        options = {"authenticator": authenticate, "auth_required": True}
        if mode == "tls":
            # The library wants STARTTLS before a login, and does not see that all of it is inside TLS.
            options["auth_require_tls"] = False
            outer = context
        else:
            options |= {"tls_context": context, "require_starttls": True}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Handler(), **options), "127.0.0.1", 0, ssl=outer)
    host, port = server.sockets[0].getsockname()[:2]
    print(f"LISTEN {host}:{port}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
