"""Keys for programs: their form, and what the warehouse keeps of them."""

from foundation.keys import Key, digest, prefix_of


def test_a_key_is_known_again_by_prefix_and_digest():
    key = Key.draw("churn_api")
    assert key.text.startswith("churn_api_")
    assert prefix_of(key.text) == key.prefix
    assert digest(key.text) == key.digest


def test_no_two_keys_are_alike_and_the_prefix_tells_no_secret():
    keys = [Key.draw("churn_api") for _ in range(100)]
    assert len({key.prefix for key in keys}) == len({key.text for key in keys}) == 100
    assert all(len(key.text.removeprefix(key.prefix)) == 65 for key in keys)


def test_what_has_no_form_of_a_key_is_no_keys_prefix():
    assert prefix_of("hello") == "hello"
    assert prefix_of("") == ""
