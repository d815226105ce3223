"""What all pictures of the book have in common: an alt text, and a number with a caption below them."""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, kw_only=True)
class Captioned(ABC):
    """A picture that notebooks and the book show with its alt text, its number and its caption.

    The caption is text and no part of the picture: it wraps on a phone, and a screen reader reads it.

    Attributes
    ----------
    alt : what the picture shows, for who cannot see it
    number : chapter and figure, as in ``"6.2"``; empty for a picture without a number
    caption : what is shown, and what to look at
    """

    alt: str
    number: str = ""
    caption: str = ""

    @abstractmethod
    def element(self) -> str:
        """The picture alone, as an HTML element with its alt text."""

    def captioned(self, number: str, caption: str) -> Self:
        """The same picture with a number and a caption; the text refers to it as "Figure 6.2"."""
        return replace(self, number=number, caption=caption)

    def image(self) -> str:
        """The picture with its caption, as HTML."""
        if not self.number:
            return self.element()
        name = f"figure-{self.number.replace('.', '-')}"
        return (
            f'<figure class="gencaps-figure" id="{name}" style="margin:0">{self.element()}'
            f"<figcaption><b>Figure {self.number}.</b> {html.escape(self.caption)}</figcaption></figure>"
        )

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        # As HTML, because the book's builder ignores the alt text of image outputs.
        label = f"Figure {self.number}. {self.caption}\n" if self.number else ""
        return {"text/html": self.image(), "text/plain": label + self.alt}
