#!/bin/sh
# Finds a Chromium for the browser tests: Playwright's own when it is there or can be fetched, else the system's.
set -eu
found() {
    python - <<'PY'
import pathlib, sys
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    sys.exit(0 if pathlib.Path(playwright.chromium.executable_path).exists() else 1)
PY
}
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then exit 0; fi
done
if found; then exit 0; fi
if python -m playwright install chromium >/dev/null 2>&1 && found; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
    exit 0
fi
echo "No Chromium was found and none could be installed. Install your system's chromium package and run again." >&2
exit 1
