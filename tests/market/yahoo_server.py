"""A loopback server that answers as Yahoo's chart service does: split-adjusted to its present, events in range."""

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pandas as pd

from osiris.market.calendars import DAILY, PRICE_COLUMNS, session_bounds

GOOD, EMPTY, UNKNOWN, LIMIT, DENIED, DENIED_ONCE = "good", "empty", "unknown", "429", "401", "401 once"
GARBAGE, TRUNCATED, HANG, DENIED_AND_HANG = "garbage", "truncated", "hang", "401, and no new crumb ever comes"
DENIAL = {"finance": {"result": None, "error": {"code": "Unauthorized", "description": "Invalid Crumb"}}}
NOT_FOUND = {"code": "Not Found", "description": "No data found, symbol may be delisted"}


class YahooServer:
    """Serves raw `bars` (ticker -> frame) as Yahoo would; `behaviour` can be changed between requests.

    `nulls` are dates whose prices are null, `dividends` amounts by date, `intraday` raw bars by (ticker, interval).
    `retry_after` is the header of a 429, `limited` an interval that always gets one; `charts` are the chart requests
    seen, as (ticker, parameters).
    """

    def __init__(self, bars: dict[str, pd.DataFrame], zone: str = "America/New_York", calendar: str = "XNYS") -> None:
        self.bars, self.zone, self.calendar, self.behaviour = bars, zone, calendar, GOOD
        self.nulls: set[str] = set()
        self.dividends: dict[str, float] = {}
        self.intraday: dict[tuple[str, str], pd.DataFrame] = {}
        self.retry_after: str | None = None
        self.limited: str | None = None
        self.charts: list[tuple[str, dict[str, str]]] = []
        self.crumbs = 0
        self._released = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> "YahooServer":
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._http.shutdown()
        self._http.server_close()

    def answer(self, ticker: str, query: dict[str, str]) -> tuple[int, bytes]:
        """Status and body of a chart request."""
        self.charts.append((ticker, query))
        behaviour = LIMIT if query["interval"] == self.limited else self.behaviour
        if behaviour == DENIED_ONCE:
            self.behaviour = GOOD
        if behaviour == HANG:
            self._released.wait(30)
        if behaviour == LIMIT:
            return 429, b"Too Many Requests\r\n"
        if behaviour in (DENIED, DENIED_ONCE, DENIED_AND_HANG):
            return 401, json.dumps(DENIAL).encode()
        if behaviour == GARBAGE:
            return 200, json.dumps({"chart": {"result": [{"meta": {}}], "error": None}}).encode()
        if behaviour == UNKNOWN or ticker not in self.bars:
            return 404, json.dumps({"chart": {"result": None, "error": NOT_FOUND}}).encode()
        return 200, json.dumps({"chart": {"result": [self._chart(ticker, query)], "error": None}}).encode()

    def _chart(self, ticker: str, query: dict[str, str]) -> dict:
        daily, interval = self.bars[ticker], query["interval"]
        bars = daily if interval == DAILY else self.intraday.get((ticker, interval), daily[:0])
        splits = daily[daily["split"] != 1]
        later = pd.Series([splits["split"][splits["start"] > at].prod() for at in bars["start"]], bars.index, float)
        adjusted = bars.assign(
            volume=bars["volume"] * later, **{name: bars[name] / later for name in PRICE_COLUMNS}
        ).astype(dict.fromkeys(PRICE_COLUMNS, "float32"))
        seconds = pd.Series([int(moment.timestamp()) for moment in adjusted["start"]], adjusted.index, int)
        inside = (seconds >= int(query["period1"])) & (seconds < int(query["period2"]))
        inside &= self.behaviour != EMPTY
        adjusted, seconds = adjusted[inside], seconds[inside]
        null = adjusted["start"].dt.strftime("%Y-%m-%d").isin(self.nulls)
        quote = {
            name: [None if gone else value for value, gone in zip(adjusted[name].tolist(), null, strict=True)]
            for name in (*PRICE_COLUMNS, "volume")
        }
        events = {
            str(second): {"date": second, "numerator": split, "denominator": 1.0, "splitRatio": f"{split:g}:1"}
            for second, split in zip(seconds.tolist(), adjusted["split"].tolist(), strict=True)
            if split != 1
        }
        paid = zip(seconds.tolist(), adjusted["start"].dt.strftime("%Y-%m-%d"), strict=True)
        dividends = {str(s): {"date": s, "amount": self.dividends[day]} for s, day in paid if day in self.dividends}
        chart = {"meta": self._meta(ticker, interval, adjusted), "indicators": {"quote": [{}]}}
        if len(seconds):
            chart |= {"timestamp": seconds.tolist(), "events": {"splits": events, "dividends": dividends}}
            chart["indicators"] = {"quote": [quote], "adjclose": [{"adjclose": self._after_dividends(adjusted)}]}
        return chart

    def _after_dividends(self, bars: pd.DataFrame) -> list[float]:
        """Closes as if dividends had been paid in shares: each before a dividend is less by its share of the price."""
        days = bars["start"].dt.strftime("%Y-%m-%d")
        left = (1 - days.map(self.dividends).fillna(0.0) / bars["close"].shift()).fillna(1.0)
        since = left[::-1].cumprod()[::-1].shift(-1, fill_value=1.0)
        return (bars["close"] * since).astype(float).tolist()

    def _meta(self, ticker: str, interval: str, bars: pd.DataFrame) -> dict:
        meta = {
            "currency": "USD", "symbol": ticker, "instrumentType": "EQUITY", "exchangeTimezoneName": self.zone,
            "firstTradeDate": int(datetime(1984, 9, 7, 14, 30, tzinfo=UTC).timestamp()), "priceHint": 2,
            "validRanges": ["1d", "max"], "dataGranularity": interval,
        }  # fmt: skip
        if interval != DAILY:
            days = pd.DatetimeIndex(bars["start"].dt.tz_convert(self.zone).dt.date.unique())
            periods = zip(*session_bounds(self.calendar, days), strict=True)
            meta["tradingPeriods"] = [
                [{"timezone": "EST", "start": int(o.timestamp()), "end": int(c.timestamp()), "gmtoffset": -18000}]
                for o, c in periods
            ]
        return meta

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                address = urlsplit(self.path)
                if address.path.startswith("/v8/finance/chart/"):
                    query = {name: values[-1] for name, values in parse_qs(address.query).items()}
                    self.reply(*server.answer(address.path.rsplit("/", 1)[-1], query))
                elif server.behaviour == DENIED_AND_HANG:
                    server._released.wait(30)
                elif address.path.endswith("/getcrumb"):
                    server.crumbs += 1
                    self.reply(200, f"crumb{server.crumbs}".encode())
                else:
                    self.reply(404, b"")

            def reply(self, status: int, body: bytes) -> None:
                cut = server.behaviour == TRUNCATED
                self.send_response(status)
                if status == 429 and server.retry_after:
                    self.send_header("Retry-After", server.retry_after)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body) + 1000 * cut))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if cut else body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
