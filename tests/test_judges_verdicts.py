"""The verdict parser: what it reads, what it refuses, and that it never invents."""

import json
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from earwitness.judges.answers import answer_with_verdict, respond
from earwitness.judges.spec import SAGELM, JudgeSpec
from earwitness.judges.verdicts import parse_verdict

LABELS = {"first": "1", "second": "2", "tie": "Tie", None: None}
LETTERS = JudgeSpec.of_type(
    "pairwise", labels={"first": "A", "second": "B", "tie": "Tie"}, clip_names=("Sample A", "Sample B")
)
ALLD = JudgeSpec.of_type("alld_ab")
SIDES = JudgeSpec.of_type(
    "pairwise", labels={"first": "left", "second": "right", "tie": "same"}, clip_names=("Left clip", "Right clip")
)
THINKS = JudgeSpec.of_type("pairwise", chain_of_thought=True)


def test_the_golden_cases(shared):
    cases = json.loads((shared / "golden/sagelm/malformed_cases.json").read_text(encoding="utf-8"))["value_cases"]
    assert cases
    for case in cases:
        lenient, strict = parse_verdict(case["predict"]), parse_verdict(case["predict"], strict=True)
        assert LABELS[lenient.verdict] == case["correct_verdict_lenient"], case["case"]
        assert LABELS[strict.verdict] == case["correct_verdict_strict"], case["case"]
        for read in (lenient, strict):
            assert (read.verdict is None) == (read.unscored is not None)


def test_the_released_labels(shared):
    canonical = {label: verdict for verdict, label in LABELS.items() if label}
    for name in ("test_semantic", "test_acoustic"):
        for row in json.loads((shared / f"data/sagelm/{name}.json").read_text(encoding="utf-8")):
            label, rationale = row["output"].split("\n", 1)
            for strict in (False, True):
                read = parse_verdict(row["output"], strict=strict)
                assert (read.verdict, read.rationale) == (canonical[label], rationale.strip())


FIRST = """1| 1|1.|1!
(1)|1)|**1**|[[1]]|"1"|`1`|> 1|- 1|# 1|１|1️⃣|1\\nbecause|\\n\\n1\\n|```\\n1\\n```|1<|im_end|>|One|1st
The first|first|the first response|The first one is better|Response 1|response 1.|option 1|Response #1|**Response 1**
1 - clearer sound|1: because it is clear|1, because it is clear|1 because it is clear|1. It is clearer.|1 (less noise)
Answer: 1|Answer - 1|**Answer:** 1|Final answer: **1**|Final Answer: Response 1|Verdict: 1|My verdict: [[1]]|Winner = 1
comparision_result: 1|\\boxed{1}|Verdict:\\n1|### Answer\\nResponse 1|Better: 1|Best response: 1|The answer is 1
The answer is 1 because Response 2 is noisy.|Analysis: both are fine.\\nFinal verdict: 1|Answer: 2\\nFinal answer: 1
Response 1 is clear. Response 2 is noisy.\\n\\n1|Sure! Here's my evaluation:\\n\\n1\\n\\nBecause it is clean.
{"verdict": "1", "reason": "x"}|{"answer": 1}|```json\\n{"winner": "Response 1"}\\n```
I prefer Response 1|I choose 1.|I'll go with Response 1.|I would choose Response 1 over Response 2.|Definitely 1.
The better response is 1|The better response is Response 1.|The winner is Response 1|Response 1 is the winner
Response 1 is better than Response 2|Response 2 is worse than Response 1|Response 1 outperforms Response 2.
Response 1 wins|Response 2 loses to Response 1|Response 2 is not as good as Response 1|1 > 2|2 < 1|1 is better
Response 1 (the female voice) is better.|Response 1, with its clear tone, is better.|Response 1 sounds much better
While Response 2 is louder, Response 1 is clearly better overall.
It's nearly a tie, but Response 1 is better.
Response 2 is better in tone, but overall Response 1 is better.|Both are similar in noise, but overall 1 is better.
Not a tie; Response 1 is better|Response 1 better than Response 2|I rate Response 1 as better.
Overall, Response 1 demonstrates superior quality compared to Response 2.|Response 1 is better, not Response 2.
<think>Response 2 is better</think>\\n1|<think>2</think><answer>1</answer>|<answer>1\\nGood</answer>|2</think>1"""

TIE = """Tie|tie|TIE|T|t|**Tie**|Tie.|tie\\nboth|Draw|Tied|equal|no preference|Tie: both are clear|Tie - both good
Both are equally good|Neither is better|Neither response is better.|Neither Response 1 nor Response 2 is better
It is a tie|It's a tie.|This is a tie|The result is a tie|Answer: Tie|Verdict: a tie|Final answer: tie|1 = 2
1 and 2 are equally good|Response 1 and Response 2 are the same.|Response 1 is as good as Response 2
There is no difference between the two|No clear winner|Both responses are comparable in quality|Both are similar.
They are equally helpful|The two responses are equal|They adhere to the task equally, resulting in a tie."""

UNSCORED = """|   |12|2/10
3|0|-1|.1|1.5|11|1%|2:1|1-2|1 - 2|1: 2|1. 2|~1|10|2nd half|2 hours|1 ≠ 2|Response 12 is better
1 or 2?|1 or 2|1/2|1, 2|1 and 2|1 2|1\\n2|1\\n2\\n3|Both|Neither|Both 1 and 2|Neither 1 nor 2|both responses are good
Response 2 is not better than Response 1|Response 1 is not better|Response 2 is hardly better|It isn't Response 1.
I don't think Response 1 is better.|Not 1|Is Response 1 better?|Which one is better?|Either could be better
If Response 1 is better, output 1.|Response 1 might be better|Response 2 would be better without the noise.
Response 1 or Response 2|Choose 1, 2 or Tie.|Choose 1 or 2, or indicate a tie.|Tie or 2|1 or Tie|Tie 1|tie tie
Response 1: clear voice. Response 2: noisy voice.|Response 1:\\nclear\\nResponse 2:\\nnoisy
### Response 1|Response 1:
1. Response 1 is clear.\\n2. Response 2 is noisy.|1. Response 2 is better|1\\nfoo\\n2\\nbar|Answer: 1\\nAnswer: 2
Score: 1|Rating: 2|2 out of 10|Answer: 1 or 2|Answer: 1/2|Answer: 12|Answer: 3|Answer: not 1|Answer:|{"verdict": "3"}|{}
[1, 2]|null|None|N/A|nan|A|B|[[A]]|Option 3 is better|Response 3|Ties|Tie-break|Tea|The|Response
Response 1 is better in tone. Response 2 is better in clarity.|Response 1 and Response 2 are better than nothing
This is not a tie|not equally good|There is a tie-breaker needed|I cannot decide|I am unable to hear the clips
Response 1 is clearer|Response 1 has a better tone|Response 1 gives the answer: 2, which is wrong.
The first 3 seconds are noisy|In the second half the noise grows|First, I listened to both.
<think>1</think>|<think>1|<answer>1|<think>a</think><answer></answer>|<think>1 is better
<answer>1</answer><answer>2</answer>
indicate a better response using 1, 2 or Tie.\\n### Instruction:\\nWhy?\\n\\n### Response 1:\\n<audio>"""


MORE = {
    "first": "I would choose the first one|option one|1 (90%)|Answer is: 1|Verdict → 1|Verdict:1"
    "|{Comparision_result: 1}|1 as it is clearer|1 is the better response|Result: Response 1",
    "second": "number 2|2nd response is better|Response two is better|2 (two)|I'd say Response 2|Preferred: 2"
    "|2 - Response 2 is better.|Response 2 is the better one because Response 1 is noisy|Two|The second|Tie-break: 2"
    "|Compared to Response 1, Response 2 is better|2\\nResponse 1 is better as it is clean",
    "tie": "Response 1 and 2 are the same|Responses 1 and 2 are equally good|**Final Verdict**: Tie."
    "|So the answer is Tie|I'd go with a tie|I choose Tie|Response: Tie|Tie. Both are good|The two are tied"
    "|I think both are equally good.",
    None: "1 (2)|two responses are given|response one and response two|10/10|1.0|they tie|Option 1 and Option 2",
}
STRICT = {
    "first": "1|**1**|1.|1)|(1)|`1`|1\\nClear.|\\n1",
    "second": "“2”|'2'|2:|[[2]]",
    "tie": "TIE!|[[Tie]]|tie",
    None: "１|- 1|# 1|<think>x</think>\\n1|1<|im_end|>|T|Response 1|12|1\\n2|1.0|Answer: 1|Two|1\\n<think>|"
    "<answer>1</answer>|1 is better",
}


def cases(text):
    r"""Split at bars and line ends; ``\n`` is a line end of the case, ``<|im_end|>`` holds bars of its own."""
    parts = text.replace("<|im_end|>", "<im_end>").replace("\n", "|").split("|")
    return [part.replace("\\n", "\n").replace("<im_end>", "<|im_end|>") for part in parts]


@pytest.mark.parametrize("text", [*cases(FIRST), 1, 1.0])
def test_first(text):
    assert parse_verdict(text).verdict == "first"


@pytest.mark.parametrize("text", [*cases(TIE)])
def test_tie(text):
    assert parse_verdict(text).verdict == "tie"


@pytest.mark.parametrize("text", [*cases(UNSCORED), "", None, True, 2.5, float("nan"), [1], {}, b"1"])
def test_unscored_with_a_reason(text):
    read = parse_verdict(text)
    assert read.verdict is None
    assert read.unscored
    assert "\n" not in read.unscored


@pytest.mark.parametrize(
    ("text", "verdict"), [(text, verdict) for verdict, texts in MORE.items() for text in cases(texts)]
)
def test_more_ways_to_say_it(text, verdict):
    assert parse_verdict(text).verdict == verdict


@pytest.mark.parametrize(
    ("text", "verdict"), [(text, verdict) for verdict, texts in STRICT.items() for text in cases(texts)]
)
def test_strict(text, verdict):
    assert parse_verdict(text, strict=True).verdict == verdict


TURNED = [text for text in cases(FIRST) if not re.search("2|tie|one is", text, re.IGNORECASE)]


@pytest.mark.parametrize("text", TURNED)
def test_second_reads_as_first_does(text):
    swaps = {"1st": "2nd", "1": "2", "１": "２", "first": "second", "First": "Second", "One": "Two"}
    assert parse_verdict(re.sub("|".join(swaps), lambda match: swaps[match[0]], text)).verdict == "second"


OTHER_MENUS = [
    (LETTERS, "first", "A|a|[[A]]|[[A>B]]|Sample A is better|A. The voice is clear|The first sample"),
    (LETTERS, "second", "B|**B**|[[B>>A]]|B is better than A|Answer: B|Sample B is the preferred choice"),
    (LETTERS, "tie", "Tie|[[A=B]]|A and B are similar|A and B are similar in this aspect"),
    (LETTERS, "tie", "Overall, both speech samples (A and B) demonstrate comparable quality."),
    (LETTERS, None, "A noisy recording.|A better tone is heard in B|A vs B|A/B|A is male, B is female|1|C"),
    (ALLD, "first", "[SpeechA]|I prefer [SpeechA] here, it is clean.|speecha|SpeechA is better than SpeechB"),
    (ALLD, "second", "[SpeechB].|A is noisy.\\n[SpeechB]|Speech B|[SpeechA] is bad, [SpeechB] is not.\\n\\n[SpeechB]"),
    (ALLD, None, "[SpeechA] vs [SpeechB]|Tie|both are equally good|neither"),
    (SIDES, "first", "left|**Left**|left because it is clean|Left is better|Answer: left"),
    (SIDES, "second", "Right.|The right is better|I choose right"),
    (SIDES, "tie", "same|the same|Tie"),
    (SIDES, None, "left or right?|That is right|both are right|1|A"),
    (THINKS, "first", "<think>a</think><answer>1</answer>|a</think><answer>1</answer>"),
    (THINKS, "second", "<answer>2</answer>|<think>x <answer>1</answer> y</think>\\n<Answer>2</Answer>"),
    (THINKS, "tie", "<think>\\n1\\n</think>\\n\\n<answer>\\nTie\\n1 is fine\\n</answer>"),
    (THINKS, "tie", "<answer>tie</answer><answer>tie</answer>"),
    (THINKS, None, "1|<think>a</think>1|<think>a</think><answer>1|<think>a<answer>1</answer>|<answer> </answer>"),
]


@pytest.mark.parametrize(
    ("spec", "verdict", "text"),
    [(spec, verdict, text) for spec, verdict, texts in OTHER_MENUS for text in cases(texts)],
)
def test_other_menus(spec, verdict, text):
    assert parse_verdict(text, spec).verdict == verdict


def test_rationale_and_thinking_are_kept():
    read = parse_verdict("<think>\nSo.\n</think>\n\n<answer>\n1\nIt is clean.\n</answer>", THINKS)
    assert (read.verdict, read.rationale, read.thinking) == ("first", "It is clean.", "So.")
    assert parse_verdict("Because.\n[SpeechB]", ALLD).rationale == "Because."
    assert parse_verdict("Answer: 2\nBecause.").rationale == "Because."
    assert parse_verdict("Response 2 is better.").rationale == "Response 2 is better."
    assert parse_verdict('{"verdict": 2, "reason": "Cleaner."}').rationale == "Cleaner."
    assert parse_verdict("2\n\n**2**").rationale is None


WORDS = (
    "1 2 Tie T A B 3 12 / 10 first second the one both neither left is are not better worse than or and because but "
    '? . : , ( ) { } " # - _ ** [[ ]] ``` <think> </think> <answer> </answer> <|im_end|> verdict overall 2. 1) prefer'
)
PHRASES = (
    ["Response", "response 1", "Response 2", "Sample A", "[SpeechA]", "[SpeechB]", "equally good", "a tie", "Answer"],
    ["\n", " ", "1\n", "\r\n", "\t", "\u200b", "\\boxed{1}", "final answer: 2"],
)
PIECES = st.sampled_from([*WORDS.split(), *PHRASES[0], *PHRASES[1]])
TEXTS = st.one_of(st.lists(PIECES, max_size=14).map(" ".join), st.lists(PIECES, max_size=10).map("".join), st.text())
SPECS = st.sampled_from([SAGELM, LETTERS, ALLD, SIDES, THINKS, JudgeSpec.of_type("alld_ab", chain_of_thought=True)])


@settings(max_examples=600, deadline=None)
@given(TEXTS, SPECS, st.booleans())
@example("1\n<answer>", SAGELM, False)
@example("1\n</answer>", SAGELM, True)
@example("Answer: 1\n2", SAGELM, False)
@example("2\n**2**\n1", SAGELM, False)
def test_any_text_gives_a_verdict_of_the_menu_or_a_reason(text, spec, strict):
    read = parse_verdict(text, spec, strict=strict)
    assert (read.verdict is None) == (read.unscored is not None)
    if read.verdict is None:
        return
    assert read.verdict in spec.labels
    again = respond(spec, answer_with_verdict(spec, read.verdict, read.rationale), read.thinking)
    canonical = parse_verdict(again, spec)
    assert canonical.verdict == read.verdict
    assert canonical.rationale == read.rationale
    if spec.chain_of_thought:
        assert canonical.thinking == read.thinking
    if strict:
        assert parse_verdict(text, spec).verdict == read.verdict


NOTHING = st.text(alphabet="cdefgjkmopquvwxyz \n.,!?3456789-()*#", max_size=60)


@given(NOTHING)
def test_text_that_names_no_verdict_gives_none(text):
    assert parse_verdict(text).verdict is None
    assert parse_verdict(text, LETTERS).verdict is None


VERDICTS = st.sampled_from(["first", "second", "tie"])
RATIONALES = st.text(alphabet=st.characters(exclude_characters="<>", exclude_categories=["Cs"]), max_size=80)


@given(VERDICTS, RATIONALES, RATIONALES, st.integers(min_value=0))
def test_a_cut_off_thought_or_answer_is_unscored(verdict, rationale, thinking, cut):
    response = respond(THINKS, answer_with_verdict(THINKS, verdict, "Clear. " + rationale), thinking)
    assert parse_verdict(response, THINKS).verdict == verdict
    end = response.index("</answer>") + len("</answer>")
    assert parse_verdict(response[: cut % end], THINKS).verdict is None


@given(VERDICTS, RATIONALES, st.integers(min_value=0))
def test_a_cut_off_rationale_leaves_the_verdict(verdict, rationale, cut):
    response = answer_with_verdict(SAGELM, verdict, "Clear. " + rationale)
    label = len(SAGELM.labels[verdict])
    assert parse_verdict(response[: label + cut % (len(response) - label + 1)]).verdict == verdict


@pytest.mark.parametrize(
    "piece",
    [
        *(
            " ",
            "\n",
            ".",
            ". ",
            "_",
            "*",
            "[",
            "(",
            ")",
            "1",
            "1)",
            "1 ",
            "1. ",
            "1\n",
            "a",
            "ly",
            "A, ",
            ";",
            "{",
            "[[",
        ),
        *("<think>", "<answer>x</answer>", "Response 1 ", "Response 1 is better. ", "both are ", "neither ", "not "),
        *("Answer: ", "Answer: 1\n", "my the so ", '{"a":', "response        ", "the first ", "1 = ", "’s ", "1>"),
    ],
)
def test_long_answers_take_linear_time(piece):
    # Quadratic work on this many characters would take minutes, cubic work hours.
    text = piece * (60_000 // len(piece))
    parse_verdict("1" + text)
    parse_verdict(text, LETTERS)
