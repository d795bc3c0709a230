"""Parts of sequential calibration: sampled inputs, descent on the codes, scales of the outputs."""

from adrl_gym.quantization.refitting.descent import SWEEPS, descend
from adrl_gym.quantization.refitting.sampling import hessian_of, sampled_inputs
from adrl_gym.quantization.refitting.scales import gains, rescale, scaled, temperature

__all__ = ["SWEEPS", "descend", "gains", "hessian_of", "rescale", "sampled_inputs", "scaled", "temperature"]
