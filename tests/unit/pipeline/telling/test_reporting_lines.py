"""What `churn dashboards plan` and `apply` say."""

from pipeline.integrations.metabase.changes import ApplyResult, Change
from pipeline.telling.dashboards import lines_of

RESULT = ApplyResult(
    changes=[Change("created", "card", "Customers")], dashboard_urls={"Churn overview": "http://metabase/dashboard/1"}
)


def test_a_plan_says_that_nothing_was_written_and_leaves_out_where_dashboards_are() -> None:
    assert list(lines_of(RESULT, is_plan=True)) == ["Nothing was written. After an apply:", "created card 'Customers'"]
    assert list(lines_of(RESULT, is_plan=False)) == [
        "created card 'Customers'",
        "Churn overview: http://metabase/dashboard/1",
    ]


def test_a_plan_on_a_fresh_metabase_does_not_say_that_all_is_in_line() -> None:
    fresh = ApplyResult(skipped="This Metabase is fresh: an apply sets it up and makes everything.")
    assert list(lines_of(fresh, is_plan=True)) == [fresh.skipped]
    assert list(lines_of(ApplyResult(), is_plan=True)) == ["Metabase is in line with the files already."]
