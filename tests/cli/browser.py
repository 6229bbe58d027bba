"""A real browser for tests: headless Chromium, driven by the DevTools protocol through two pipes (nothing to install)."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = next((c for c in ("chromium", "chromium-browser", "google-chrome", "chrome") if shutil.which(c)), None)
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40,
        "Home": 36, "End": 35, "+": 187, "-": 189, "0": 48}  # fmt: skip
TEXT = {"Enter": "\r", " ": " ", "+": "+", "-": "-", "0": "0"}


class Browser:
    """One page. ``faults`` are the errors that its scripts threw or told the console."""

    def __init__(self, profile: Path) -> None:
        ours, theirs = os.pipe(), os.pipe()  # commands, answers
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                   "--remote-debugging-pipe", "--hide-scrollbars", f"--user-data-dir={profile}", "about:blank"]  # fmt: skip
        # The protocol is fixed to the descriptors 3 and 4, which only a shell in between puts where they belong.
        line = f'exec "$0" "$@" 3<&{ours[0]} 4>&{theirs[1]}'
        self.process = subprocess.Popen(
            ["bash", "-c", line, CHROMIUM or "", *options],
            pass_fds=(ours[0], theirs[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self.commands, self.answers = ours[1], theirs[0]
        self.numbers, self.held, self.faults, self.session = itertools.count(1), b"", [], ""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its answer."""
        number = next(self.numbers)
        told = {"id": number, "method": method, "params": params} | (
            {"sessionId": self.session} if self.session else {}
        )
        os.write(self.commands, json.dumps(told).encode() + b"\0")
        until = time.monotonic() + 60
        while True:
            while b"\0" not in self.held:
                if not select.select([self.answers], [], [], max(0.0, until - time.monotonic()))[0]:
                    raise TimeoutError(f"the browser did not answer {method} in 60 seconds")
                self.held += (read := os.read(self.answers, 1 << 20))
                if not read:
                    raise ConnectionError(f"the browser ended at {method}")
            line, _, self.held = self.held.partition(b"\0")
            answer = json.loads(line)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.faults.append(str(params["exceptionDetails"].get("exception", {}).get("description", params)))
        elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.faults.append(params["entry"]["text"])

    def open(self, path: Path, width: int, height: int = 900, dark: bool = False, phone: bool = False) -> None:
        """Open a file in a window of this size and wait until its script says that it is done."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.send("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.send("Emulation.setEmulatedMedia", features=[scheme, still])
        self.send("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.documentElement?.dataset.ready === 'true' || (document.readyState === 'complete' "
                  "&& !document.getElementById('plotly'))")  # fmt: skip

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        got = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in got:
            raise RuntimeError(f"{script}: {got['exceptionDetails']}")
        return got["result"].get("value")

    def wait(self, condition: str, seconds: float = 30) -> None:
        """Until a JavaScript expression is true."""
        until = time.monotonic() + seconds
        while not self.run(f"!!({condition})"):
            if time.monotonic() > until:
                raise TimeoutError(f"never true: {condition}; faults: {self.faults}")
            time.sleep(0.03)

    def place(self, query: str) -> tuple[float, float]:
        """The middle of the first element that a query finds, scrolled into the window."""
        script = (
            f"(() => {{ const e = document.querySelector({json.dumps(query)}); e.scrollIntoView({{block: 'center'}}); "
        )
        box = self.run(
            script + "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        return box[0], box[1]

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """A mouse event such as ``mouseMoved`` or ``mouseWheel``."""
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click_at(self, x: float, y: float) -> None:
        """Press and release where the pointer is moved to."""
        self.mouse("mouseMoved", x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, button="left", clickCount=1)

    def click(self, query: str) -> None:
        """Click the middle of the first element that a query finds."""
        self.click_at(*self.place(query))

    def key(self, name: str, shift: bool = False) -> None:
        """Press and release a key."""
        common = {"key": name, "code": name, "windowsVirtualKeyCode": KEYS[name], "modifiers": 8 if shift else 0}
        self.send("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": TEXT[name]} if name in TEXT else {}))
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def picture(self, path: Path, whole: bool = False) -> None:
        """A picture of the window, or of the whole page."""
        held = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(held["data"]))

    def close(self) -> None:
        """End the browser."""
        try:
            self.session = ""
            self.send("Browser.close")
        except (OSError, TimeoutError, ConnectionError):
            self.process.kill()
        self.process.wait(20)
        os.close(self.commands)
        os.close(self.answers)
