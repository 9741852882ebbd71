"""The line on a real shop's year, and on a SaaS firm's files in which a coin says who leaves."""

import shutil
from dataclasses import dataclass

import pytest

from benchmarks.negative_control import draw_leavings
from tests.e2e.churn_home import ROOT, ChurnHome

pytestmark = pytest.mark.xdist_group("real_input")

DATA = ROOT.parent / "shared" / "data"
EXAMPLES = ("online_retail", "ravenstack")


@dataclass
class RealInput(ChurnHome):
    """A warehouse with both example companies, and what its run printed."""

    printed: str

    def metric(self, slug: str, candidate: str, metric: str) -> float:
        ((value,),) = self.ask(
            "select evaluation.value from ml.evaluations as evaluation inner join ops.companies using (company_id)"
            " where slug = %s and candidate = %s and metric = %s",
            slug,
            candidate,
            metric,
        )
        return float(value)


@pytest.fixture(scope="module")
def real_input(tmp_path_factory: pytest.TempPathFactory) -> RealInput:
    """A run with both example companies of docs/online-retail.md; whom RavenStack loses is drawn by chance."""
    missing = [name for name in EXAMPLES if not (DATA / name).is_dir()]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)} beside the project: see docs/online-retail.md for the data")
    line = ChurnHome(tmp_path_factory.mktemp("real") / "home")
    for name in EXAMPLES:
        shutil.copytree(DATA / name, line.home / "imports" / name)
    draw_leavings(line.home / "imports" / "ravenstack", seed=1)
    for name in EXAMPLES:
        added = line.churn("company", "add", str(ROOT / "docs" / "examples" / f"{name}.yaml"))
        assert added.returncode == 0, added.stderr
    done = line.churn("run")
    assert done.returncode == 0, done.stdout + done.stderr
    return RealInput(line.home, done.stdout)


def test_a_real_shops_invoices_become_payments_once_each(real_input: RealInput) -> None:
    ((charges, refunds, customers),) = real_input.ask(
        "select count(*) filter (where kind = 'charge'), count(*) filter (where kind = 'refund'),"
        " count(distinct customer_id) from raw.payments inner join ops.companies using (company_id)"
        " where slug = 'online_retail'"
    )
    assert customers == 4383
    assert charges + refunds == 23_587
    assert 4_000 < refunds < 5_000


def test_the_real_shop_is_predicted_better_than_by_chance(real_input: RealInput) -> None:
    assert real_input.metric("online_retail", "xgboost", "auc_low") > 0.6


def test_every_active_customer_of_the_real_shop_has_a_score_for_the_end_of_its_data(real_input: RealInput) -> None:
    ((date, scores),) = real_input.ask(
        "select as_of_date::text, count(*) from predictions.churn_current inner join ops.companies using (company_id)"
        " where slug = 'online_retail' group by 1"
    )
    assert date == "2010-12-10"
    ((bought, waited_for),) = real_input.ask(
        "select count(*) filter (where bought), count(*) filter (where not bought) from ("
        " select bool_or(paid_at >= timestamptz '2010-09-11 00:00Z') as bought"
        " from predictions.churn_current inner join ops.companies using (company_id)"
        " inner join raw.payments using (company_id, customer_id) where slug = 'online_retail' and kind = 'charge'"
        " and paid_at < timestamptz '2010-12-10 00:00Z' and amount > 0 group by customer_id) as scored"
    )
    ((buyers,),) = real_input.ask(
        "select count(distinct customer_id) from raw.payments inner join ops.companies using (company_id)"
        " where slug = 'online_retail' and kind = 'charge' and paid_at >= timestamptz '2010-09-11 00:00Z'"
        " and paid_at < timestamptz '2010-12-10 00:00Z' and amount > 0"
    )
    assert bought == buyers
    # Of those who did not buy, only whose own rhythm says that they buy less often.
    assert scores == bought + waited_for
    assert 0 < waited_for < 0.01 * bought


def test_where_there_is_no_signal_no_candidate_finds_one(real_input: RealInput) -> None:
    for candidate in ("xgboost", "logistic"):
        assert real_input.metric("ravenstack", candidate, "auc_low") < 0.5
        assert real_input.metric("ravenstack", candidate, "auc_high") > 0.5


def test_tickets_older_than_their_customers_are_pointed_out(real_input: RealInput) -> None:
    assert "tickets before their customer" in real_input.printed
