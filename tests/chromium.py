"""A headless Chromium for the tests that need one, with a profile of its own and no network."""

import shutil

import pytest
from selenium import webdriver

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
MISSING = " and ".join(name for name, path in (("Chromium", CHROMIUM), ("chromedriver", DRIVER)) if path is None)


def needs_chromium(what):
    """The marks of such a test: slow, and left out by name where there is no browser."""
    return [
        pytest.mark.slow,
        pytest.mark.xdist_group("browser"),  # one at a time
        pytest.mark.skipif(bool(MISSING), reason=f"{what} in a browser was left out: {MISSING} not installed"),
    ]


def start(profile, *, size="1400,1600"):
    """A driver with its profile in that folder; nothing is fetched from anywhere but this machine."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in (
        "headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
        "disable-component-update", "disable-sync", "disable-dev-shm-usage", "no-proxy-server",
        "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"window-size={size}", f"user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(f"--{option}")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    # Without a screen a page may never have the focus, and what follows the focus (JupyterLab's `currentWidget`) fails.
    driver.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
    return driver
