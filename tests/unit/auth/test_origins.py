"""Origins: own pages and the person; nobody else but for links."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.auth.origins import Asked

OWN = "http://3000--cr-7k2m9xqd.localhost:7080"
SITES = ["same-origin", "same-site", "cross-site", "none", "", "Same-Origin", "same-origin "]
MODES = ["navigate", "cors", "no-cors", "websocket", ""]
DESTINATIONS = ["document", "iframe", "image", "empty", ""]
ORIGINS = [[], [OWN], ["null"], ["http://evil.example"], [OWN, OWN], [OWN, "http://evil.example"], [OWN + "1"]]


def asked(method: str, site: str, mode: str, destination: str, origins: list[str], upgrade: bool, early: str) -> Asked:
    said = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": destination, "sec-purpose": early}
    headers = {name: [value] for name, value in said.items() if value}
    if origins:
        headers["origin"] = origins
    if upgrade:
        headers["upgrade"] = ["websocket"]
    return Asked(method, headers)


@given(
    st.sampled_from(["GET", "HEAD", "POST"]),
    st.sampled_from(SITES),
    st.sampled_from(MODES),
    st.sampled_from(DESTINATIONS),
    st.sampled_from(ORIGINS),
    st.booleans(),
    st.sampled_from(["", "prefetch", "prefetch;prerender"]),
)
def test_only_own_pages_the_person_and_links_come_in(
    method: str, site: str, mode: str, destination: str, origins: list[str], upgrade: bool, early: str
) -> None:
    request = asked(method, site, mode, destination, origins, upgrade, early)
    foreign = origins not in ([], [OWN]) and not (origins == ["null"] and site == "same-origin")
    link = method == "GET" and mode == "navigate" and destination == "document" and not upgrade and not early
    assert request.is_navigation == link
    own = site in ("same-origin", "none") or (not site and origins == [OWN])
    assert request.is_from(OWN) == (not foreign and (own or (site != "" and link)))


def test_several_values_are_as_good_as_a_wrong_one() -> None:
    assert not Asked("GET", {"sec-fetch-site": ["same-origin", "same-origin"]}).is_from(OWN)
    assert not Asked("GET", {"sec-fetch-site": ["none"], "sec-fetch-mode": ["navigate", "cors"]}).is_navigation
