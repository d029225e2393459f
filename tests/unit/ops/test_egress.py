"""The way out: what leads where it must not is never connected to, and what comes back can do no harm."""

from __future__ import annotations

import asyncio
import errno
import gzip
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from ops import egress as module
from ops.addresses import exemption
from ops.egress import Answer, Cut, Egress, OutOfResources, Policy, TimedOut, Unreachable, check_url
from tests.support.certificates import self_signed
from tests.support.files import no_files_left
from tests.support.receiving import OK, Receiver, answering, closing, receiving

NOBODY = Policy((), (443,))
SECONDS = 5.0

# What the URL alone gives away; {port} is that of a server of ours on 127.0.0.1, and a port that the policy admits.
WRITTEN = Path(__file__).with_name("refused_urls.txt").read_text(encoding="utf-8").split()
WITH_BLANKS = [
    "",
    " ",
    " https://127.0.0.1:{port}/",
    "https://127.0.0.1:{port}/ ",
    "https://127.0.0.1 :{port}/",
    "https://127.0.0.1\t:{port}/",
    "https://example.com/\r\nHost: 127.0.0.1",
    "https://example.com/\n",
    "https://exa\x00mple.com/",
    "https://example.com/\x7f",
    "https://127.0.0.1:{port}/" + "a" * 2048,
    "https://" + "a" * 64 + ".com/",
    "https://" + "a." * 127 + "com/",
]

# What only the name's servers give away.
RESOLVED = {
    "loopback.example": ["127.0.0.1"],
    "loopback-6.example": ["::1"],
    "any.example": ["0.0.0.0"],
    "any-6.example": ["::"],
    "private.example": ["10.0.0.1", "172.16.0.1", "192.168.0.1"],
    "cgnat.example": ["100.64.0.1"],
    "metadata.google.internal": ["169.254.169.254"],
    "metadata-6.example": ["fd00:ec2::254"],
    "azure.example": ["168.63.129.16"],
    "link-local.example": ["fe80::1"],
    "scoped.example": ["fe80::1%lo"],
    "site-local.example": ["fec0::1"],
    "unique-local.example": ["fc00::1"],
    "multicast.example": ["224.0.0.1", "ff02::1"],
    "broadcast.example": ["255.255.255.255"],
    "reserved.example": ["240.0.0.1"],
    "documentation.example": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "mapped-public.example": ["::ffff:1.1.1.1"],
    "compatible.example": ["::127.0.0.1"],
    "6to4.example": ["2002:7f00:1::"],
    "teredo.example": ["2001:0:7f00:1::"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "local-nat64.example": ["64:ff9b:1::7f00:1"],
    "a-name-again.example": ["localhost"],
    "decimal.example": ["2130706433"],
    "mixed.example": ["127.0.0.1", "::1", "169.254.169.254", "10.0.0.1", "::ffff:127.0.0.1", "fe80::1"],
    "127.0.0.1.nip.example": ["127.0.0.1"],
    "xn--lcalhost-54a.example": ["127.0.0.1"],
}


class Lying(AbstractResolver):
    """Name servers in the enemy's hands: each look-up of a name takes its next answer, the last one again and again."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        self.asked.append(host)
        found = RESOLVED.get(host) or (self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])
        return [ResolveResult(hostname=host, host=each, port=port, family=family, proto=0, flags=0) for each in found]

    async def close(self) -> None:
        pass


class Silent(Lying):
    """Name servers that never answer."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        self.asked.append(host)
        return await asyncio.Future()


def open_to(*receivers: Receiver, host: str = "127.0.0.1", resolver: AbstractResolver | None = None, **more: Any) -> Egress:
    """Public addresses aside, only those servers of ours may be reached."""
    return Egress(Policy(tuple(exemption(f"{host}:{each.port}") for each in receivers), (443,)), resolver=resolver, **more)


async def post(egress: Egress, url: str, seconds: float = SECONDS) -> Answer:
    return await egress.post(url, b"{}", {"content-type": "application/json"}, seconds)


class TestCorpus:
    def test_is_large(self) -> None:
        assert len(WRITTEN) + len(WITH_BLANKS) + len(RESOLVED) >= 130

    @pytest.mark.parametrize("url", [*WRITTEN, *WITH_BLANKS])
    async def test_what_the_url_gives_away_is_refused_before_it_is_stored_and_again_when_it_is_sent(self, url: str) -> None:
        async with receiving() as trap, Egress(Policy((), (443, trap.port)), resolver=Lying(["127.0.0.1"])) as egress:
            with pytest.raises(ValueError, match="must "):
                check_url(url.replace("{port}", str(trap.port)), Policy((), (443, trap.port)))
            with pytest.raises(Unreachable):
                await post(egress, url.replace("{port}", str(trap.port)))
            assert trap.connections == 0

    @pytest.mark.parametrize("name", RESOLVED)
    async def test_what_a_name_leads_to_is_judged_when_the_socket_opens(self, name: str) -> None:
        async with receiving() as trap:
            policy, lying = Policy((), (443, trap.port)), Lying([])
            async with Egress(policy, resolver=lying) as egress:
                check_url(f"https://{name}:{trap.port}/", policy)
                with pytest.raises(Unreachable) as refused:
                    await post(egress, f"https://{name}:{trap.port}/")
        cause = refused.value.__cause__
        assert isinstance(cause, aiohttp.ClientConnectorError)
        assert cause.os_error.errno == errno.EACCES  # refused, not merely nobody there
        assert lying.asked == [name]
        assert trap.connections == 0

    @pytest.mark.parametrize("url", [url for url in WRITTEN if url.startswith(("https://1", "https://0", "https://2", "https://["))])
    async def test_an_address_is_judged_by_the_connector_too(self, url: str) -> None:
        """Resolvers are not asked for addresses: without the socket's own check, the URL's would be all there is."""
        async with receiving() as trap, Egress(Policy((), (443, trap.port)), resolver=Lying(["127.0.0.1"])) as egress:
            with pytest.raises((aiohttp.ClientError, ValueError)):
                await egress._sessions[True].post(url.replace("{port}", str(trap.port)))
            assert trap.connections == 0

    async def test_the_server_that_saw_nothing_would_have_seen_it(self) -> None:
        async with receiving() as trap, open_to(trap, resolver=Lying(["127.0.0.1"])) as egress:
            assert await post(egress, trap.url("rebinding.example")) == Answer(200, None)
            assert trap.connections == 1

    @given(st.text(st.sampled_from("https://[]@:.?#\\%0x127l-ａ"), max_size=30) | st.from_regex(r"https://[!-~]{1,20}(:443)?/?[!-~]{0,9}"))
    def test_what_is_admitted_means_the_same_to_the_client(self, url: str) -> None:
        try:
            check_url(url, NOBODY)
        except ValueError:
            return
        seen = URL(url, encoded=True)
        assert (seen.scheme, seen.port, seen.user, seen.password, seen.raw_fragment) == ("https", 443, None, None, "")
        assert seen.raw_host == url.split("/")[2].partition("?")[0].removesuffix(":443").strip("[]")


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is this machine only there")
class TestRebinding:
    """127.0.0.2 stands for the address that is admitted, 127.0.0.1 for the one inside."""

    async def test_the_second_answer_gains_nothing(self) -> None:
        async with (
            receiving(closing(OK), host="127.0.0.2") as outside,
            receiving(port=outside.port) as trap,
            open_to(outside, host="127.0.0.2", resolver=Lying(["127.0.0.2"], ["127.0.0.1"])) as egress,
        ):
            url = outside.url("rebinding.example")
            assert await post(egress, url) == Answer(200, None)
            connector = egress._sessions[False].connector
            assert isinstance(connector, aiohttp.TCPConnector)
            connector.clear_dns_cache()  # its ten seconds are over
            with pytest.raises(Unreachable):
                await post(egress, url)
            assert (outside.connections, trap.connections) == (1, 0)

    @pytest.mark.parametrize(
        "answer", [["127.0.0.2", "127.0.0.1"], ["127.0.0.1", "127.0.0.2"], ["::1", "127.0.0.1", "127.0.0.2", "127.0.0.1"]]
    )
    async def test_of_a_mixture_only_the_admitted_are_tried(self, answer: list[str]) -> None:
        async with (
            receiving(closing(OK), host="127.0.0.2") as outside,
            receiving(port=outside.port) as trap,
            open_to(outside, host="127.0.0.2", resolver=Lying(answer)) as egress,
        ):
            for _ in range(4):  # the connector takes the answer's addresses in turn
                assert await post(egress, outside.url("mixed-up.example")) == Answer(200, None)
            assert trap.connections == 0

    async def test_when_the_admitted_is_down_the_rest_is_not_tried(self) -> None:
        async with receiving(host="127.0.0.2") as outside:
            pass
        async with (
            receiving(port=outside.port) as trap,
            open_to(outside, host="127.0.0.2", resolver=Lying(["127.0.0.2", "127.0.0.1"])) as egress,
        ):
            with pytest.raises(Unreachable):
                await post(egress, outside.url("mixed-up.example"))
            assert trap.connections == 0


class TestExemptions:
    async def test_hold_for_the_port_they_name_and_no_other(self) -> None:
        async with receiving() as admitted, receiving() as trap, open_to(admitted) as egress:
            assert (await post(egress, admitted.url())).status == 200
            assert (await post(egress, admitted.url("localhost"))).status == 200
            for url in (trap.url(), trap.url("localhost"), admitted.url("127.0.0.3")):
                with pytest.raises(Unreachable):
                    await post(egress, url)
            assert trap.connections == 0

    async def test_http_goes_nowhere_else(self) -> None:
        """Not even to a public address, on the exemption's own port."""
        async with receiving() as admitted, open_to(admitted, resolver=Lying(["1.1.1.1"])) as egress:
            for url in (admitted.url("public.example"), admitted.url("1.1.1.1"), "http://1.1.1.1/"):
                with pytest.raises(Unreachable):
                    await post(egress, url)

    @pytest.mark.parametrize(
        "url",
        [
            "https://example.com",
            "HTTPS://Example.com/",
            "https://1.1.1.1/?q=%2F&p={}",
            "https://[2606:4700::1111]:443/",
            "https://xn--bcher-kva.example/",
        ],
    )
    def test_the_internet_needs_none(self, url: str) -> None:
        check_url(url, NOBODY)

    def test_a_message_says_what_to_do(self) -> None:
        for url, message in {
            "http://example.com/": "must be https",
            "https://example.com:8443/": "must not lead to port 8443",
            "https://10.0.0.1/": "must lead to a public address",
            "https://2130706433/": "must have a host name, or an address in its usual form",
            "https://example.com./": "must have a host name as DNS knows them, without a dot at its end",
            "https://user@example.com/": "must be an https URL of printable ASCII: a host name or address, no user, no fragment",
        }.items():
            with pytest.raises(ValueError, match=f"^{message}$"):
                check_url(url, NOBODY)


class TestTls:
    @pytest.mark.parametrize(
        ("name", "trusted"), [("hooks.example", True), ("127.0.0.1", True), ("other.example", True), ("hooks.example", False)]
    )
    async def test_a_certificate_must_be_of_a_known_authority_and_for_the_name(self, name: str, trusted: bool, tmp_path: Path) -> None:
        tls, trust = self_signed(tmp_path, "hooks.example", "127.0.0.1")
        async with receiving(tls=tls) as receiver:
            async with open_to(receiver, resolver=Lying(["127.0.0.1"]), trust=trust if trusted else None) as egress:
                if trusted and name != "other.example":
                    assert (await post(egress, receiver.url(name, scheme="https"))).status == 200
                else:
                    with pytest.raises(Unreachable):
                        await post(egress, receiver.url(name, scheme="https"))
            assert bool(receiver.requests) == (trusted and name != "other.example")


class TestRequest:
    async def test_is_what_was_given_and_nothing_of_the_machines(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Proxies and passwords of the environment are the operator's."""
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login operator password hunter2\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        async with receiving() as proxy, receiving() as receiver, open_to(receiver) as egress:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
                monkeypatch.setenv(name, proxy.url(rest=""))
            await post(egress, receiver.url(rest="/a%2Fb/../c?x=%7E&y={}"))
            head, body = receiver.requests[0]
            assert proxy.connections == 0
        lines = head.replace("HyreLog-Webhooks/" + module._version(), "HyreLog-Webhooks/VERSION").split("\r\n")
        assert lines == [
            "POST /a%2Fb/../c?x=%7E&y={} HTTP/1.1",
            f"Host: 127.0.0.1:{receiver.port}",
            "User-Agent: HyreLog-Webhooks/VERSION",
            "content-type: application/json",
            "Content-Length: 2",
            "",
            "",
        ]
        assert body == b"{}"

    async def test_takes_no_cookies_along(self) -> None:
        cookie = answering(OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: session=1; Path=/\r\n\r\n"))
        async with receiving(cookie) as receiver, open_to(receiver) as egress:
            for _ in range(2):
                await post(egress, receiver.url("localhost"))
            assert "cookie" not in receiver.requests[1][0].lower()

    async def test_shares_a_connection_with_the_one_before(self) -> None:
        async with receiving() as receiver, open_to(receiver) as egress:
            for _ in range(3):
                await post(egress, receiver.url())
            assert (receiver.connections, len(receiver.requests)) == (1, 3)

    async def test_goes_again_when_the_connection_kept_was_none_any_more(self) -> None:
        async with receiving(closing(OK)) as receiver, open_to(receiver) as egress:
            for _ in range(5):
                assert await post(egress, receiver.url()) == Answer(200, None)
            assert (receiver.connections, len(receiver.requests)) == (5, 5)

    async def test_keeps_no_connection_when_there_are_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_KEPT_CONNECTIONS", 0)
        async with receiving() as receiver, open_to(receiver) as egress:
            await post(egress, receiver.url())
            assert "\r\nConnection: close\r\n" in receiver.requests[0][0]


class TestAnswer:
    @pytest.mark.parametrize("status", [200, 204, 400, 410, 500])
    async def test_is_its_status(self, status: int) -> None:
        async with receiving(answering(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)) as receiver, open_to(receiver) as egress:
            assert await post(egress, receiver.url()) == Answer(status, None)

    async def test_may_say_when_to_come_back(self) -> None:
        busy = answering(b"HTTP/1.1 429 Busy\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n")
        async with receiving(busy) as receiver, open_to(receiver) as egress:
            assert await post(egress, receiver.url()) == Answer(429, "120")

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_that_leads_elsewhere_is_not_followed(self, status: int) -> None:
        async with receiving() as trap:
            answer = b"HTTP/1.1 %d X\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % (status, trap.url().encode())
            async with receiving(answering(answer)) as receiver, open_to(receiver, trap) as egress:
                assert (await post(egress, receiver.url())).status == status
            assert trap.connections == 0

    async def test_is_not_unpacked(self) -> None:
        """64 KiB of it unpack to 64 MB."""
        bomb = gzip.compress(bytes(60 << 20))
        packed = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
        for body in (bomb, b"not gzip at all"):
            async with receiving(answering(packed % (len(body), body))) as receiver, open_to(receiver) as egress:
                assert (await post(egress, receiver.url())).status == 200

    async def test_without_an_end_is_read_for_64_kib(self) -> None:
        sent = 0

        async def pour(writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                writer.write(bytes(16 << 10))
                sent += 16 << 10
                await writer.drain()

        async with receiving(pour) as receiver, open_to(receiver) as egress:
            assert (await post(egress, receiver.url())).status == 200
            await receiver.closed.wait()
        assert sent < 16 << 20  # what the two sockets hold

    @pytest.mark.parametrize(
        "begun", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nso", b"HTTP/1.1 100 Continue\r\n\r\n"]
    )
    async def test_that_does_not_end_in_time_is_timed_out(self, begun: bytes) -> None:
        async with receiving(answering(begun)) as receiver, open_to(receiver) as egress:
            with pytest.raises(TimedOut):
                await post(egress, receiver.url(), 0.2)

    async def test_a_receiver_that_reads_nothing_is_timed_out(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as deaf:  # connects and takes what its buffer holds, but nobody is there
            receiver = Receiver(deaf.getsockname()[1])
            async with open_to(receiver) as egress:
                with pytest.raises(TimedOut):
                    await egress.post(receiver.url(), bytes(1 << 20), {}, 0.3)

    @pytest.mark.parametrize(
        "torn",
        [
            b"",
            b"HTTP/1.1 200 O",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nso",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nso",
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 999 + b"\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        ],
    )
    async def test_that_is_torn_or_none_is_cut(self, torn: bytes) -> None:
        async with receiving(closing(torn)) as receiver, open_to(receiver) as egress:
            with pytest.raises(Cut):
                await post(egress, receiver.url())

    async def test_nobody_there_is_unreachable(self) -> None:
        async with receiving() as receiver:
            pass
        async with open_to(receiver) as egress:
            with pytest.raises(Unreachable):
                await post(egress, receiver.url())

    async def test_a_name_whose_servers_are_silent_is_unreachable(self) -> None:
        async with Egress(NOBODY, resolver=Silent([])) as egress:
            with pytest.raises(Unreachable):
                await post(egress, "https://silent.example/", 0.1)


class Failing(Lying):
    """A resolver that has the machine's own trouble."""

    def __init__(self, number: int) -> None:
        super().__init__([])
        self._number = number

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        raise OSError(self._number, "of this machine")


class TestThisMachine:
    """What it lacks is not its customers' endpoints' failure: they are not to be disabled for it."""

    async def test_without_a_file_for_the_connection_blames_nobody(self) -> None:
        async with receiving(closing(OK)) as receiver, open_to(receiver, resolver=Lying(["127.0.0.1"])) as egress:
            for host in ("127.0.0.1", "name.example"):
                with no_files_left(), pytest.raises(OutOfResources):
                    await post(egress, receiver.url(host))
            assert await post(egress, receiver.url()) == Answer(200, None)
            assert receiver.connections == 1

    @pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM])
    async def test_without_means_to_ask_for_the_name_blames_nobody(self, number: int) -> None:
        async with Egress(NOBODY, resolver=Failing(number)) as egress:
            with pytest.raises(OutOfResources):
                await post(egress, "https://name.example/")

    @pytest.mark.parametrize("number", [errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL, socket.EAI_NONAME, socket.EAI_AGAIN])
    async def test_with_no_way_there_blames_the_destination(self, number: int) -> None:
        async with Egress(NOBODY, resolver=Failing(number)) as egress:
            with pytest.raises(Unreachable):
                await post(egress, "https://name.example/")
