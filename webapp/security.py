"""Owns the headers that every answer carries, errors included: what the page may load, run and be embedded in."""

from flask import Flask, Response

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "worker-src 'self'",
        "connect-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

ISOLATION_HEADERS = {
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Together they make the page cross-origin isolated, which shared memory, hence threads, need."""


def init_app(app: Flask) -> None:
    """Set the headers on every answer of ``app``; its ISOLATION setting says whether the page gets threads."""
    headers = HEADERS | (ISOLATION_HEADERS if app.config["ISOLATION"] else {})

    @app.after_request
    def set_headers(response: Response) -> Response:
        response.headers.update(headers)
        return response
