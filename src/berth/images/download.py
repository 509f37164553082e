"""Fetches the archive that an import names by its address."""

from collections.abc import AsyncGenerator
from typing import Final

import aiohttp

from berth.images.errors import RegistryFailed

#: How long the other side may be silent, in seconds.
_SILENCE_S: Final = 60.0


async def downloaded(address: str) -> AsyncGenerator[bytes, None]:
    """Yield what is at `address`; one without a scheme means HTTP. Raises `RegistryFailed`."""
    url = address if "://" in address else f"http://{address}"
    limits = aiohttp.ClientTimeout(total=None, sock_connect=_SILENCE_S, sock_read=_SILENCE_S)
    try:
        async with aiohttp.ClientSession(timeout=limits, trust_env=True) as session, session.get(url) as response:
            if response.status != 200:
                raise RegistryFailed(f"failed to download {url}: {response.status} {response.reason}")
            async for piece in response.content.iter_any():
                yield piece
    except (aiohttp.ClientError, ValueError, TimeoutError) as exc:
        raise RegistryFailed(f"failed to download {url}: {exc or type(exc).__name__}") from exc
