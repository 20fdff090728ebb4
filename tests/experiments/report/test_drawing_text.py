"""What a figure shows of a text that is not ours."""

from __future__ import annotations

from experiments.report.drawing.frame import frame, literal


def test_tags_are_shown_and_quotation_marks_stay() -> None:
    assert literal("<b>\"x\"</b> & 'y'") == "&lt;b&gt;\"x\"&lt;/b&gt; &amp; 'y'"
    figure = frame('regularisers=["lookahead"]', "<script>", 200)
    assert figure.layout.xaxis.title.text == 'regularisers=["lookahead"]'
    assert figure.layout.yaxis.title.text == "&lt;script&gt;"
