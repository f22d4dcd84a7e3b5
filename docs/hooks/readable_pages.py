"""What the theme leaves out and a screen reader needs: names of search and folded lists, no header over nothing."""

from __future__ import annotations

import re
from typing import Any

SEARCH = 'data-md-component="search" role="dialog"'
# A list whose title is a page: the label that unfolds it holds an icon alone, and names the list as well.
UNFOLDS = re.compile(
    r'(<span class="md-ellipsis">\s*(?P<title>[^<]+?)\s*</span>\s*</a>\s*<label class="md-nav__link [^>]*>\s*'
    r'<span class="md-nav__icon md-icon"></span>)'
)
EMPTY_HEADER = re.compile(r"<th([^>]*)></th>")


def readable(html: str) -> str:
    """A page with them."""
    html = html.replace(SEARCH, f'{SEARCH} aria-label="Search"')
    html = UNFOLDS.sub(r'\1<span class="unseen">Pages below \g<title></span>', html)
    return EMPTY_HEADER.sub(r"<td\1></td>", html)


def on_post_page(output: str, **_: Any) -> str:
    """MkDocs asks for every page that it wrote."""
    return readable(output)


def on_post_template(output_content: str, **_: Any) -> str:
    """The same of 404.html."""
    return readable(output_content)
