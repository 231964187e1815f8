"""The families' papers, cited in model cards and tables."""

from dataclasses import dataclass

# By venue: BibTeX entry type and full name. arXiv papers have neither.
_VENUES = {
    "CVPR": ("inproceedings", "IEEE/CVF Conference on Computer Vision and Pattern Recognition"),
    "ECCV": ("inproceedings", "European Conference on Computer Vision"),
    "Frontiers in Neuroscience": ("article", "Frontiers in Neuroscience"),
    "ICLR": ("inproceedings", "International Conference on Learning Representations"),
    "IJCAI": ("inproceedings", "International Joint Conference on Artificial Intelligence"),
    "NeurIPS": ("inproceedings", "Advances in Neural Information Processing Systems"),
    "TPAMI": ("article", "IEEE Transactions on Pattern Analysis and Machine Intelligence"),
}
_FIELDS = {"inproceedings": "booktitle", "article": "journal"}


@dataclass(frozen=True)
class Paper:
    """A paper: its `id` on arXiv or, where it is not there, its DOI; title, authors in order, venue and year."""

    id: str
    title: str
    authors: tuple[str, ...]
    venue: str
    year: int

    @property
    def key(self) -> str:
        """How `Published.paper` and docstrings call it: `arXiv:2209.15425`, `doi:10.3389/fnins.2024.1371290`."""
        return f"{'doi' if self.id.startswith('10.') else 'arXiv'}:{self.id}"

    @property
    def link(self) -> str:
        return f"https://doi.org/{self.id}" if self.key.startswith("doi") else f"https://arxiv.org/abs/{self.id}"

    @property
    def bibtex(self) -> str:
        """Its entry; the key is first author, year and first word of the title: `zhou2023spikformer`."""
        entry, venue = _VENUES.get(self.venue, ("misc", ""))
        word = "".join(c for c in self.title.split()[0].partition("-")[0] if c.isalnum())
        fields = {
            "title": f"{{{self.title}}}",
            "author": " and ".join(self.authors),
            **({_FIELDS[entry]: venue} if venue else {}),
            "year": str(self.year),
            **({"doi": self.id} if self.key.startswith("doi") else {"eprint": self.id, "archivePrefix": "arXiv"}),
        }
        lines = "".join(f"  {key} = {{{value}}},\n" for key, value in fields.items())
        return f"@{entry}{{{self.authors[0].split()[-1]}{self.year}{word},\n".lower() + f"{lines}}}"


def _papers(*papers: Paper) -> dict[str, Paper]:
    return {paper.key: paper for paper in papers}


# By `Published.paper`.
PAPERS = _papers(
    Paper(
        "2102.04159", "Deep Residual Learning in Spiking Neural Networks",
        ("Wei Fang", "Zhaofei Yu", "Yanqi Chen", "Tiejun Huang", "Timothée Masquelier", "Yonghong Tian"),
        "NeurIPS", 2021,
    ),
    Paper(
        "2209.15425", "Spikformer: When Spiking Neural Network Meets Transformer",
        ("Zhaokun Zhou", "Yuesheng Zhu", "Chao He", "Yaowei Wang", "Shuicheng Yan", "Yonghong Tian", "Li Yuan"),
        "ICLR", 2023,
    ),
    Paper(
        "2304.11954", "Spikingformer: Spike-driven Residual Learning for Transformer-based Spiking Neural Network",
        ("Chenlin Zhou", "Liutao Yu", "Zhaokun Zhou", "Zhengyu Ma", "Han Zhang", "Huihui Zhou", "Yonghong Tian"),
        "arXiv", 2023,
    ),
    Paper(
        "2305.05954",
        "Enhancing the Performance of Transformer-based Spiking Neural Networks by SNN-optimized Downsampling with "
        "Precise Gradient Backpropagation",
        (
            "Chenlin Zhou", "Han Zhang", "Zhaokun Zhou", "Liutao Yu", "Zhengyu Ma", "Huihui Zhou", "Xiaopeng Fan",
            "Yonghong Tian",
        ),
        "arXiv", 2023,
    ),
    Paper(
        "2307.01694", "Spike-driven Transformer",
        ("Man Yao", "Jiakui Hu", "Zhaokun Zhou", "Li Yuan", "Yonghong Tian", "Bo Xu", "Guoqi Li"),
        "NeurIPS", 2023,
    ),
    Paper(
        "2401.02020", "Spikformer V2: Join the High Accuracy Club on ImageNet with an SNN Ticket",
        (
            "Zhaokun Zhou", "Kaiwei Che", "Wei Fang", "Keyu Tian", "Yuesheng Zhu", "Shuicheng Yan", "Yonghong Tian",
            "Li Yuan",
        ),
        "arXiv", 2024,
    ),
    Paper(
        "2403.11138", "Spiking Wavelet Transformer",
        ("Yuetong Fang", "Ziqing Wang", "Lingfeng Zhang", "Jiahang Cao", "Honglei Chen", "Renjing Xu"),
        "ECCV", 2024,
    ),
    Paper(
        "2403.14302", "SpikingResformer: Bridging ResNet and Vision Transformer in Spiking Neural Networks",
        ("Xinyu Shi", "Zecheng Hao", "Zhaofei Yu"),
        "CVPR", 2024,
    ),
    Paper(
        "10.3389/fnins.2024.1371290", "SGLFormer: Spiking Global-Local-Fusion Transformer with high performance",
        (
            "Han Zhang", "Chenlin Zhou", "Liutao Yu", "Liwei Huang", "Zhengyu Ma", "Xiaopeng Fan", "Huihui Zhou",
            "Yonghong Tian",
        ),
        "Frontiers in Neuroscience", 2024,
    ),
    Paper(
        "2403.16552", "QKFormer: Hierarchical Spiking Transformer using Q-K Attention",
        (
            "Chenlin Zhou", "Han Zhang", "Zhaokun Zhou", "Liutao Yu", "Liwei Huang", "Xiaopeng Fan", "Li Yuan",
            "Zhengyu Ma", "Huihui Zhou", "Yonghong Tian",
        ),
        "NeurIPS", 2024,
    ),
    Paper(
        "2404.03663",
        "Spike-driven Transformer V2: Meta Spiking Neural Network Architecture Inspiring the Design of Next-generation "
        "Neuromorphic Chips",
        (
            "Man Yao", "Jiakui Hu", "Tianxiang Hu", "Yifan Xu", "Zhaokun Zhou", "Yonghong Tian", "Bo Xu", "Guoqi Li",
        ),
        "ICLR", 2024,
    ),
    Paper(
        "2411.16061", "Scaling Spike-driven Transformer with Efficient Spike Firing Approximation Training",
        (
            "Man Yao", "Xuerui Qiu", "Tianxiang Hu", "Jiakui Hu", "Yuhong Chou", "Keyu Tian", "Jianxing Liao",
            "Luziwei Leng", "Bo Xu", "Guoqi Li",
        ),
        "TPAMI", 2025,
    ),
    Paper(
        "2501.13492", "Quantized Spike-driven Transformer",
        (
            "Xuerui Qiu", "Malu Zhang", "Jieyuan Zhang", "Wenjie Wei", "Honglin Cao", "Junsheng Guo", "Rui-Jie Zhu",
            "Yimeng Shan", "Yang Yang", "Haizhou Li",
        ),
        "ICLR", 2025,
    ),
    Paper(
        "2505.14719", "MSVIT: Improving Spiking Vision Transformer Using Multi-scale Attention Fusion",
        ("Wei Hua", "Chenlin Zhou", "Jibin Wu", "Yansong Chua", "Yangyang Shu"),
        "IJCAI", 2025,
    ),
    Paper(
        "2505.18608", "Spiking Neural Networks Need High-Frequency Information",
        (
            "Yuetong Fang", "Deming Zhou", "Ziqing Wang", "Hongwei Ren", "Zecui Zeng", "Lusong Li", "Shibo Zhou",
            "Renjing Xu",
        ),
        "NeurIPS", 2025,
    ),
)  # fmt: skip
