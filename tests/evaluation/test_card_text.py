"""What the card says, and that nothing in it becomes HTML."""

from readmission.evaluation.model_card import to_html

TABLE = "|  | a |\n| --- | --- |\n| x | <script>alert(1)</script> |"
CARD = f"# model, version 3\n\n{TABLE}\n\n![Curve](curve.png)\n\n<b>no</b> <30\n"


def test_the_page_holds_its_figures() -> None:
    page = to_html(CARD, {"curve.png": b"\x89PNG"})
    assert '<img src="data:image/png;base64,iVBORw==" alt="Curve"' in page
    assert "<title>model, version 3</title>" in page
    assert "<table>" in page


def test_no_text_becomes_markup() -> None:
    page = to_html(CARD, {})
    assert "<script>" not in page
    assert "<b>" not in page
    assert "&lt;30" in page
