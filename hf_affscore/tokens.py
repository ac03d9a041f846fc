"""Access tokens: checked before a request carries one, so that no library fails on a malformed token."""

from __future__ import annotations

from typing import Any

from hf_affscore.errors import InputError, remember_token

Token = str | bool | None


def checked_token(token: Token, name: str = "token") -> Token:
    r"""A token without surrounding white space, valid in a request header.

    Args:
        token: A token, ``True`` (the stored login), ``False`` (none), or ``None`` (the stored login, if any).
        name: What messages call it; they never show the token itself.

    Raises:
        InputError: It is empty, of another type, or has characters that no token has: spaces, line ends, letters
            outside ASCII.

    Example:
        >>> checked_token("hf_abc\n")
        'hf_abc'
    """
    if token is None or isinstance(token, bool):
        return token
    given: Any = token
    if not isinstance(given, str):
        raise InputError(f"{name} is of type {type(given).__name__}; expected text, True, False or None.")
    token = given.strip()
    advice = "expected an access token such as hf_... Copy it again, or use `hf auth login` and leave it out."
    if not token:
        raise InputError(f"{name} is empty; {advice}")
    if not all("!" <= character <= "~" for character in token):
        raise InputError(f"{name} has spaces, line ends or letters outside ASCII; {advice}")
    remember_token(token)
    return token
