"""A real browser for tests: Debian's Chromium, driven in a thread of its own, so that the test may use the database."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

from playwright.sync_api import Browser as Chromium
from playwright.sync_api import BrowserContext, Page, Playwright, sync_playwright

Result = TypeVar("Result")
EXECUTABLE = "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Browser:
    """One page of one browser. Everything that happens in it goes through `do`.

    It notes what a careful reader of the developer tools would: errors on the console, and requests to other hosts.
    """

    def __init__(self, base: str, *, time_zone: str = "UTC") -> None:
        self.base = base
        self._time_zone = time_zone
        self.complaints: list[str] = []
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._playwright: Playwright
        self._chromium: Chromium
        self._context: BrowserContext
        self._page: Page

    def __enter__(self) -> "Browser":
        self._thread.submit(self._open).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.submit(self._close).result()
        self._thread.shutdown()

    def _open(self) -> None:
        self._playwright = sync_playwright().start()
        self._chromium = self._playwright.chromium.launch(executable_path=EXECUTABLE, args=FLAGS)
        self._context = self._chromium.new_context(viewport={"width": 1440, "height": 900}, timezone_id=self._time_zone)
        self._page = self._context.new_page()
        self._page.on("console", self._hear)
        self._page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self._page.on("request", self._see)

    def _close(self) -> None:
        self._chromium.close()
        self._playwright.stop()

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _see(self, request: Any) -> None:
        if not request.url.startswith((self.base, "data:", "blob:")):
            self.complaints.append(f"request to {request.url}")

    def do(self, steps: Callable[[Page], Result]) -> Result:
        """Let the browser do something, and wait for it."""
        return self._thread.submit(steps, self._page).result()

    def open(self, path: str) -> None:
        self.do(lambda page: page.goto(self.base + path))

    def sign_in(self, name: str, password: str) -> None:
        def steps(page: Page) -> None:
            page.goto(f"{self.base}/admin/login/?next=/admin/")
            page.fill("[name=username]", name)
            page.fill("[name=password]", password)
            page.click("button[type=submit]")
            page.wait_for_url(f"{self.base}/admin/")

        self.do(steps)
