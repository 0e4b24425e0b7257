"""Personal data out of the text."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version as package_version
from typing import ClassVar, Literal, Self

from pydantic import field_validator, model_validator

from pipeline.pii.datatrove import mask_as_datatrove
from pipeline.pii.presidio import NER_ENTITIES, can_find_names, other_recognisers
from pipeline.pii.replace import placeholder, replace_found, surrogate
from pipeline.pii.scan import ENTITIES, find_pii
from pipeline.record import Drop, Page
from pipeline.steps.step import Step, Takes


class RemovePii(Step):
    """Replace personal data in the text; never drops a page.

    A scan with google-re2 finds candidates; Presidio's recognisers, checksums, libphonenumber's metadata
    and `ipaddress.is_global` decide. The ledger has the count of each type, and no value is stored anywhere.
    Of overlapping findings the most certain stands (checksum or e-mail syntax, then IP address and card, then
    a number that a word names, then a number by its shape), of equals the longest.
    """

    name: ClassVar[str] = "pii"
    takes: ClassVar[Takes] = "text"
    gives: ClassVar[tuple[str, ...]] = ("text",)

    # email, phone, credit_card, iban, us_ssn, ip, crypto; any other of Presidio's in lower case (uk_nhs,
    # it_fiscal_code); person, location, nrp, organization by spaCy's model on English pages (extra `ner`; about
    # 50 ms for 1,600 characters)
    entities: tuple[str, ...] = ("email", "phone", "credit_card", "iban", "us_ssn", "ip", "crypto")
    # placeholder: <EMAIL_ADDRESS>; surrogate: an invented value by a hash of seed and value;
    # datatrove: FineWeb's e-mail and IPv4 replacement, letter for letter
    style: Literal["placeholder", "surrogate", "datatrove"] = "placeholder"
    placeholder: str = "<{entity}>"
    seed: int = 0
    # ISO 3166 codes whose national forms are taken without a word that says phone; ["all"], or [] for none
    phone_regions: tuple[str, ...] = ("all",)
    public_ips_only: bool = True
    hidden_emails: bool = True  # name [at] host dot org

    @field_validator("entities")
    @classmethod
    def _known(cls, entities: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in entities if name not in ENTITIES and not _presidio_has(name.upper())]
        if unknown:
            raise ValueError(f"no entity {unknown[0]!r}: {', '.join(ENTITIES)}, or one of Presidio's in lower case")
        if not can_find_names() and any(name.upper() in NER_ENTITIES for name in entities):
            raise ValueError('names and places need the extra "ner": pip install "gristmill[ner]"')
        return tuple(dict.fromkeys(entities))

    @field_validator("phone_regions")
    @classmethod
    def _regions(cls, regions: tuple[str, ...]) -> tuple[str, ...]:
        from phonenumbers import SUPPORTED_REGIONS

        unknown = [region for region in regions if region not in SUPPORTED_REGIONS]
        if unknown and regions != ("all",):
            raise ValueError(f"no phone region {unknown[0]!r}: ISO 3166 codes such as US, or [all]")
        return regions

    @field_validator("placeholder")
    @classmethod
    def _template(cls, template: str) -> str:
        try:
            template.format(entity="X")
        except (KeyError, IndexError, ValueError):
            raise ValueError("a placeholder may hold {entity} and no other field") from None
        return template

    @model_validator(mode="after")
    def _datatrove_does_two(self) -> Self:
        if self.style == "datatrove" and not set(self.entities) <= {"email", "ip"}:
            raise ValueError("style datatrove replaces e-mail and IPv4 only: set entities: [email, ip]")
        return self

    def load(self) -> None:
        """Build the recognisers, by letting them find what there is to find of the commonest kinds."""
        if self.style != "datatrove":
            find_pii("Call 212-555-0123 or write to mail@example.com.", self.entities, phone_regions=self.phone_regions)

    def check(self, page: Page) -> Drop | None:
        """Replace what is found in `page.text`; counts go to `page.values` as `pii.<entity>`."""
        text = page.text
        counts: Counter[str] = Counter()
        if self.style == "datatrove":
            page.text, counts["email"], counts["ip"] = mask_as_datatrove(
                text, emails="email" in self.entities, ips="ip" in self.entities
            )
        else:
            found = find_pii(
                text,
                self._entities_for(page.language),
                phone_regions=self.phone_regions,
                public_ips_only=self.public_ips_only,
                hidden_emails=self.hidden_emails,
            )
            if found:
                counts.update(_SHORT.get(one.entity, one.entity.lower()) for one in found)
                replacement = surrogate(self.seed) if self.style == "surrogate" else placeholder(self.placeholder)
                page.text = replace_found(text, found, replacement)
        self.note(page, {name: counts[name] for name in self.entities})
        return None

    def _entities_for(self, language: str) -> tuple[str, ...]:
        """Without the names on a page that is known not to be English: the model knows no other language."""
        if language[:2] in ("", "en"):
            return self.entities
        return tuple(name for name in self.entities if name.upper() not in NER_ENTITIES)

    @property
    def columns(self) -> list[str]:
        return [f"{self.name}.{name}" for name in self.entities]

    @property
    def version(self) -> str:
        """The packages whose rules and tables decide."""
        if self.style == "datatrove":
            return "datatrove 0.10.1"
        packages = ("presidio-analyzer", "phonenumbers", "tldextract")
        return ", ".join(f"{package} {package_version(package)}" for package in packages)


_SHORT = {entity: name for name, entity in ENTITIES.items()}


def _presidio_has(entity: str) -> bool:
    if entity in _SHORT:  # goes by its short name
        return False
    return entity in NER_ENTITIES or bool(other_recognisers(entity))
