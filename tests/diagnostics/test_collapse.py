import pytest

from jepakit.diagnostics.collapse import CollapseWatch, below_paper_variance


@pytest.mark.parametrize(
    ("variance", "mean_square", "collapsed"),
    [
        (1e-3, 1.0, False),
        (0.9e-5, 1.0, True),  # below the threshold relative to the mean square ...
        (0.9e-5, 0.5, False),
        (1e-3, 101.0, True),
        (8.9e-8, 1.3e-4, False),  # ... and only then: a small embedding is alive even with a variance below the paper's 1e-7
        (1e-16, 1e-9, True),
        (0.0, 0.0, True),
    ],
)
def test_collapse_is_judged_by_variance_over_mean_square(variance: float, mean_square: float, collapsed: bool) -> None:
    watch = CollapseWatch(threshold=1e-5)
    watch.judge(1000, variance, mean_square)
    assert watch.collapsed == collapsed
    assert below_paper_variance(variance) == (variance < 1e-7)


def test_the_threshold_is_configurable() -> None:
    watch = CollapseWatch(threshold=0.5)
    watch.judge(1000, variance=0.4, mean_square=1.0)
    assert watch.collapsed


def test_reports_each_change_of_verdict_and_keeps_the_first_collapse() -> None:
    watch = CollapseWatch(threshold=1e-5)
    figures = [(1000, 0.1), (2000, 1e-9), (3000, 1e-9), (4000, 0.1), (5000, 1e-9)]
    verdicts = [watch.judge(env_steps, variance, mean_square=1.0) for env_steps, variance in figures]
    assert verdicts == [None, "collapsed", None, "recovered", "collapsed"]
    assert watch.collapsed_at == 2000
