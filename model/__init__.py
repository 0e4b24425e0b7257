"""Pretrain, fine-tune, sample and evaluate a language model from published token shards.

Reads a dataset through the contract of its shards alone and imports nothing else of the curation engine.

- `config.py`       ModelConfig: a model's shape, by preset, by one dial (depth) or from a Hugging Face config
- `transformer.py`  Transformer: Qwen3's and Llama's shape under Hugging Face parameter names, with KVCache
- `moe.py`          the mixture-of-experts block, Qwen3-MoE's names
- `gpt2.py`         GPT2: the shape of GPT-2, for reproductions
- `weights.py`      build_model, save_model, load_model: folders of config.json and safetensors
- `attention.py`    causal, document-masked and cached attention in one function
- `loss.py`         cross-entropy in chunks; Objective, what is wrapped, compiled and sharded
- `data.py`         Loader: rows of tokens from published datasets; the same on any number of ranks
- `packing.py`      documents to rows: best fit, concatenation, best fit with cropping
- `optim.py`        Muon and AdamW, the schedule
- `parallel.py`     processes, DDP, FSDP2, compilation
- `train.py`        the loop: accumulate, step, log, validate, sample, save
- `checkpoint.py`   training state (resharding, asynchronous) and weights as safetensors
- `plan.py`         parameters, tokens, compute, hours, cost: give some, get the rest
- `chat.py`         conversations to tokens as the tokenizer's chat template has them, with the loss mask
- `conversations.py` conversations from files of five forms
- `sft.py`          fine-tuning on conversations, packed within document masks
- `lora.py`         LoRA and QLoRA in PEFT's format; `nf4.py`, its four-bit weights
- `generate.py`     Engine: continuous batches, prefix cache, best of n; `sampling.py`, `constrain.py`, `speculative.py`
- `evaluate.py`     bits per byte, multiple choice, cloze, pairs, memorisation; `tasks.py`, the items
- `answers.py`      the loss of held-out answers, and how many of its own end
- `baseline.py`     a byte bigram's bits per byte: the first mark to pass
- `journal.py`      log.jsonl, progress, plots (`plot.py`); `scaling.py`, finished runs as a law
- `export.py`       folders for transformers and vLLM; `gguf.py`, a file for llama.cpp
- `cli.py`          `gristmill train …`; `commands.py`, those of fine-tuning, generation, evaluation and export

Nothing is imported here, so that `import model` costs nothing; ask each module for its names.
"""
