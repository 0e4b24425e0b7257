"""`generate`, `chat`, `evaluate`, `sft` and `export`: what is asked on the command line, and how answers show.

torch is imported when one of them runs, not before.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pipeline.errors import GristmillError

if TYPE_CHECKING:
    from model.constrain import Grammar
    from model.generate import Completion, Engine
    from model.sampling import Sampling
    from model.vocabulary import Vocabulary

out = Console(highlight=False)

ModelFolder = Annotated[Path, typer.Argument(help="A folder of config.json, safetensors and tokenizer, like RUN/model.")]
Temperature = Annotated[float, typer.Option(help="0 is greedy.", min=0)]
TopK = Annotated[int, typer.Option(help="Only the k likeliest tokens; 0: all.", min=0)]
TopP = Annotated[float, typer.Option(help="Only the likeliest that sum up to p.")]
MinP = Annotated[float, typer.Option(help="Only those as likely as this share of the likeliest.")]
Penalty = Annotated[float, typer.Option(help="Above 1: what was said becomes less likely.")]
MaxTokens = Annotated[int, typer.Option(help="Tokens to write at most.", min=1)]
Seed = Annotated[int, typer.Option(help="The same seed gives the same text.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for machines.")]


def generate(
    model: ModelFolder,
    prompt: Annotated[list[str], typer.Argument(help="Text to continue; several at once; - reads lines of stdin.")],
    max_tokens: MaxTokens = 128,
    temperature: Temperature = 0.8,
    top_k: TopK = 0,
    top_p: TopP = 1.0,
    min_p: MinP = 0.0,
    repetition_penalty: Penalty = 1.0,
    seed: Seed = 0,
    best_of: Annotated[int, typer.Option(help="Write n, show the one the model finds likeliest a token.", min=1)] = 1,
    vote: Annotated[int, typer.Option(help="Write n, show the --answer that most of them come to.", min=1)] = 1,
    answer: Annotated[str, typer.Option(help="Regular expression whose last match in a text is its answer.")] = r"-?\d+",
    regex: Annotated[str, typer.Option(help="The output must match this regular expression.")] = "",
    schema: Annotated[Path | None, typer.Option(help="The output must be JSON of this schema file.")] = None,
    draft: Annotated[Path | None, typer.Option(help="A smaller model that proposes; greedy output stays the same.")] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Continue texts. One prompt is written to the terminal as it comes."""
    from model.generate import best_of_n
    from model.sampling import Sampling

    engine, vocabulary, ends = _opened(model, device)
    sampling = Sampling(
        max_tokens=max_tokens, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
        repetition_penalty=repetition_penalty, stop=ends, seed=seed,
    )  # fmt: skip
    prompts = [line.rstrip("\n") for line in sys.stdin] if prompt == ["-"] else prompt
    ids = [[ends[-1], *vocabulary.encode(text)] for text in prompts]
    grammar = _grammar(engine, vocabulary, ends, regex, schema)
    if vote > 1:
        for text, prompt_ids in zip(prompts, ids, strict=True):
            _vote(engine, vocabulary, text, prompt_ids, sampling, vote, answer)
        return
    if draft:
        _refuse_together(draft, bool(grammar) or best_of > 1)
        from model.speculative import speculate

        small, _, _ = _opened(draft, device)
        size = engine.vocab_size
        found = [speculate(engine.model, small.model, text, sampling, vocab_size=size).completion for text in ids]
    elif best_of > 1:
        found = [best_of_n(engine, text, sampling, best_of)[0] for text in ids]
    elif len(ids) == 1 and not as_json:
        sys.stdout.write(prompts[0])
        _stream(engine, vocabulary, ids[0], sampling, grammar)
        return
    else:
        found = engine.generate(ids, sampling, grammar)
    for text, completion in zip(prompts, found, strict=True):
        said = vocabulary.decode(completion.tokens)
        row = {"prompt": text, "text": said, "finish": completion.finish, "mean_logprob": completion.mean_logprob}
        print(json.dumps(row, ensure_ascii=False) if as_json else text + said)


def chat(
    model: ModelFolder,
    system: Annotated[str, typer.Option(help="What the assistant is told beforehand.")] = "",
    max_tokens: MaxTokens = 512,
    temperature: Temperature = 0.7,
    top_p: TopP = 0.95,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Talk with a fine-tuned model. An empty line or Ctrl-D ends; /new begins anew."""
    from model.chat import ChatTemplate, Message
    from model.sampling import Sampling

    engine, vocabulary, ends = _opened(model, device)
    template = ChatTemplate(vocabulary.tokenizer_json)
    opening = [Message("system", system)] if system else []
    talk = list(opening)
    stop = tuple(dict.fromkeys((template.end_id, *ends)))
    sampling = Sampling(max_tokens=max_tokens, temperature=temperature, top_p=top_p, stop=stop, seed=seed)
    while True:
        try:
            said = input("> ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
        except EOFError:
            return
        if not said.strip():
            return
        if said.strip() == "/new":
            talk = list(opening)
            continue
        talk.append(Message("user", said))
        prompt = template.prompt(talk)
        while len(prompt) + max_tokens > engine.model.config.max_seq_len and len(talk) > len(opening) + 1:
            # The oldest turns go first; what the assistant was told beforehand stays.
            del talk[len(opening)]
            prompt = template.prompt(talk)
        talk.append(Message("assistant", _stream(engine, vocabulary, prompt, sampling, None)))
        sampling = replace(sampling, seed=sampling.seed + 1)


def evaluate(
    model: ModelFolder,
    items: Annotated[list[Path], typer.Option("--items", "-i", help="Files of evaluation items.")] = [],  # noqa: B006  # typer takes a list
    text: Annotated[list[Path], typer.Option("--text", "-t", help="Texts for bits per byte: JSON lines or plain.")] = [],  # noqa: B006  # likewise
    chat: Annotated[list[Path], typer.Option("--chat", help="Conversations: loss of their answers, and how many of its own end.")] = [],  # noqa: B006  # likewise
    seen: Annotated[Path | None, typer.Option(help="Training texts for the memorisation probe, against --text.")] = None,
    shots: Annotated[int, typer.Option(help="Solved examples before each item.", min=0)] = 0,
    limit: Annotated[int, typer.Option(help="Of each file at most this many; 0: all.", min=0)] = 0,
    out_file: Annotated[Path | None, typer.Option("--out", "-o", help="Also write the results as JSON.")] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Bits per byte of texts, accuracy on items with standard errors, loss of answers, and what was learned by heart."""
    from model.answers import answers
    from model.conversations import read_conversations
    from model.evaluate import Evaluator
    from model.tasks import read_items

    if not items and not text and not chat:
        raise GristmillError("nothing to evaluate on", "--items, --text, --chat", "Give at least one file.")
    engine, vocabulary, ends = _opened(model, device)
    evaluator = Evaluator(engine.model, vocabulary, ends[-1])
    results: dict[str, Any] = {}
    for path in text:
        results[path.name] = evaluator.bits_per_byte(_texts(path, limit))
    for path in items:
        results[path.name] = evaluator.accuracy(read_items(path)[: limit or None], shots)
    for path in chat:
        results[path.name] = answers(engine, vocabulary.tokenizer_json, [*read_conversations([path])][: limit or None])
    if seen:
        held_out = [one for path in text for one in _texts(path, limit)]
        results["memorisation"] = evaluator.memorisation(_texts(seen, limit), held_out)
    told = json.dumps(results, indent=2, sort_keys=True)
    if out_file:
        out_file.write_text(told + "\n", encoding="utf-8")
    print(told) if as_json else _show(results)


def sft(
    data: Annotated[list[str], typer.Option("--data", "-d", help="Files of conversations; several are joined.")],
    init: Annotated[Path, typer.Option(help="Folder of the model to start from.")],
    out_folder: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run; the same folder resumes it.")],
    epochs: Annotated[float, typer.Option(help="Times over the data.")] = 2.0,
    steps: Annotated[int, typer.Option(help="Optimizer steps, instead of --epochs.")] = 0,
    seq_len: Annotated[int, typer.Option(help="Tokens a row; 0: the model's context.")] = 0,
    batch_tokens: Annotated[int, typer.Option(help="Tokens a step.")] = 1 << 15,
    lr: Annotated[float, typer.Option(help="0: 2e-4, with --lora 2e-3.")] = 0,
    lora: Annotated[int, typer.Option(help="Rank of LoRA adapters; 0: train every weight.", min=0)] = 0,
    quantized: Annotated[bool, typer.Option("--qlora", help="Keep the frozen weights in 4 bits; with --lora.")] = False,
    validation: Annotated[list[str], typer.Option(help="Files of conversations held out, instead of a share.")] = [],  # noqa: B006  # typer takes a list
    validation_share: Annotated[float, typer.Option(help="Of the conversations, held out.")] = 0.02,
    validate_every: Annotated[int, typer.Option(help="Steps; 0: at the end.")] = 100,
    sample_every: Annotated[int, typer.Option(help="Steps; 0: at the end.")] = 100,
    prompt: Annotated[list[str], typer.Option(help="Question to answer now and then.")] = [],  # noqa: B006  # typer takes a list
    save_every: Annotated[int, typer.Option(help="Steps; 0: at the end.")] = 100,
    precision: Annotated[str, typer.Option(help="Of activations: float32, bfloat16; auto: bfloat16 on GPUs.")] = "auto",
    tensorboard: Annotated[bool, typer.Option(help="Log to TensorBoard as well.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Fine-tune on conversations: the loss is on the assistant's words. Run it again to resume."""
    from model.lora import LoRAConfig
    from model.sft import QUESTIONS, SFTConfig
    from model.sft import sft as start
    from model.train import LoopSettings

    if quantized and not lora:
        raise GristmillError("--qlora keeps the weights frozen, so something else must be trained", "--qlora", "Give --lora 16.")
    loop = LoopSettings(
        steps=0, document_mask=True, validate_every=validate_every, sample_every=sample_every, save_every=save_every,
        prompts=tuple(prompt) or QUESTIONS, precision=one_of(precision, "--precision", "auto", "float32", "bfloat16"),
        tensorboard=tensorboard,
    )  # fmt: skip
    adapters = LoRAConfig(rank=lora, alpha=2.0 * lora, quantized=quantized) if lora else None
    config = SFTConfig(
        data=tuple(data), init=str(init), out=str(out_folder), seq_len=seq_len, batch_tokens=batch_tokens,
        epochs=epochs, steps=steps, validation=tuple(validation), validation_share=validation_share, seed=seed, lr=lr, lora=adapters, device=device, loop=loop,
    )  # fmt: skip
    outcome = start(config)
    told = "  ".join(f"validation {name.replace('_', ' ')} {value:.4f}" for name, value in outcome.validation.items())
    out.print(f"{outcome.step} steps  {told}\nmodel    {out_folder}/model")
    if lora:
        out.print(f"adapter  {out_folder}/adapter")


def export(
    model: ModelFolder,
    to: Annotated[str, typer.Option(help="hf: transformers and vLLM; gguf: llama.cpp.")] = "hf",
    out_folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files.")] = Path("export"),
    precision: Annotated[str, typer.Option(help="hf: float32, float16, bfloat16; gguf: f32, f16, bf16, q8_0.")] = "",
) -> None:
    """Write a trained model for other tools, with its tokenizer and chat template."""
    if to == "hf":
        from model.export import export_hf

        export_hf(model, out_folder, precision or "float32")  # type: ignore[arg-type]  # checked there
        out.print(str(out_folder))
    elif to == "gguf":
        from model.gguf import export_gguf

        kind = precision or "f16"
        out.print(str(export_gguf(model, out_folder / f"model-{kind}.gguf", kind)))  # type: ignore[arg-type]  # checked there
    else:
        raise GristmillError("there is no such format", f"--to {to}", "Models are written as hf or gguf.")


def import_(
    source: Annotated[Path, typer.Argument(help="A .gguf file: Llama or Qwen3, of any quantisation that gguf reads.")],
    out_folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for config, weights and tokenizer.")],
) -> None:
    """Turn a GGUF file into a folder that --init, generate and export take. Hugging Face folders need no import."""
    from model.gguf_import import import_gguf

    import_gguf(source, out_folder)
    out.print(str(out_folder))


def _opened(folder: Path, device: str) -> tuple[Engine, Vocabulary, tuple[int, ...]]:
    """The model, its tokenizer and the ids that end its output; the last of them ends documents."""
    import torch

    from model.export import end_ids, tokenizer_files
    from model.generate import Engine
    from model.vocabulary import Vocabulary
    from model.weights import load_model

    wanted = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    model = load_model(folder, wanted, torch.bfloat16 if wanted.startswith("cuda") else torch.float32)
    vocabulary = Vocabulary(tokenizer_files(folder)["tokenizer.json"])
    return Engine(model, vocab_size=len(vocabulary.bytes_per_token)), vocabulary, end_ids(folder)


def _vote(
    engine: Engine, vocabulary: Vocabulary, text: str, ids: list[int], sampling: Sampling, count: int, answer: str
) -> None:
    """Show what most of `count` samples come to, and all votes as JSON."""
    from model.generate import self_consistency

    try:
        pattern = re.compile(answer)
    except re.error as error:
        raise GristmillError(f"no regular expression ({error})", f"--answer {answer}", "Mend it.") from error

    def found(sample: Completion) -> str | None:
        matches = [match.group(match.lastindex or 0) for match in pattern.finditer(vocabulary.decode(sample.tokens))]
        return matches[-1] if matches else None

    chosen, votes = self_consistency(engine, ids, sampling, count, found)
    print(json.dumps({"prompt": text, "answer": chosen, "votes": dict(votes.most_common())}, ensure_ascii=False))


def _grammar(
    engine: Engine, vocabulary: Vocabulary, ends: tuple[int, ...], regex: str, schema: Path | None
) -> Grammar | None:
    from model.constrain import Grammar

    size = engine.model.config.vocab_size
    if regex and schema:
        raise GristmillError("the output can follow one of them", "--regex, --schema", "Give one.")
    if regex:
        return Grammar.regex(regex, vocabulary.tokenizer_json, size, ends)
    if schema:
        try:
            return Grammar.json_schema(json.loads(schema.read_text(encoding="utf-8")), vocabulary.tokenizer_json, size, ends)
        except (OSError, ValueError) as error:
            raise GristmillError(f"no JSON schema ({error})", str(schema), "Give a file that holds one.") from error
    return None


def _stream(
    engine: Engine, vocabulary: Vocabulary, prompt: list[int], sampling: Sampling, grammar: Grammar | None
) -> str:
    """Write the text as it comes, whole characters only; what was written."""
    tokens: list[int] = []
    shown = ""
    for step in engine.stream([prompt], sampling, grammar):
        tokens += [step.token] if step.token is not None else []
        text = vocabulary.decode(tokens)
        if not text.endswith("\ufffd") or step.finish:
            sys.stdout.write(text[len(shown) :])
            sys.stdout.flush()
            shown = text
    print()
    return shown


def _texts(path: Path, limit: int) -> list[str]:
    """The texts of a file: the field `text` of JSON lines, else the whole file."""
    from model.conversations import read_rows

    if path.suffix == ".txt":
        return [path.read_text(encoding="utf-8")]
    texts = [row.get("text") for _, row in read_rows(path) if isinstance(row, dict)]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise GristmillError("rows without the field text", str(path), "Give JSON lines with text, or a .txt file.")
    return texts[: limit or None]


def _show(results: dict[str, Any]) -> None:
    table = Table(box=None)
    for heading in ("on", "measure", "value", "± s.e.", "of"):
        table.add_column(heading, justify="left" if heading in ("on", "measure") else "right")
    for name, measures in results.items():
        for measure, value in measures.items():
            if isinstance(value, dict) and "stderr" in value:
                error = f"{value['stderr']:.4f}"
                table.add_row(name, measure.replace("_", " "), f"{value['value']:.4f}", error, f"{value['count']:,}")
            elif isinstance(value, float):
                table.add_row(name, measure.replace("_", " "), f"{value:,.4f}", "", "")
            name = ""
    out.print(table)


def one_of(value: str, where: str, *allowed: str) -> Any:
    """The value, where it is one of those allowed. Raises GristmillError where it is not."""
    if value not in allowed:
        raise GristmillError(f"{value!r} is not known", where, f"Choose one of {', '.join(allowed)}.")
    return value


def _refuse_together(draft: Path, other: bool) -> None:
    if other:
        raise GristmillError("a draft proposes for plain sampling only", f"--draft {draft}", "Leave the other option out.")
