import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession(sys.argv[1])
settings = json.loads(session.get_modelmeta().custom_metadata_map["spikeformers"])
how, classes = settings["preprocess"], settings["classes"]
side, shorter = how["image_size"], int(how["image_size"] / how["crop_pct"])
resample = Image.Resampling[how["interpolation"].upper()]
for file in sys.argv[2:]:
    image = Image.open(file).convert("L" if settings["in_channels"] == 1 else "RGB")
    width, height = (int(shorter * pixels / min(image.size)) for pixels in image.size)
    left, top = round((width - side) / 2), round((height - side) / 2)
    image = image.resize((width, height), resample).crop((left, top, left + side, top + side))
    pixels = np.asarray(image, np.float32).reshape(side, side, -1) / 255
    x = (pixels - np.float32(how["mean"])) / np.float32(how["std"])
    (logits,) = session.run(None, {"x": x.transpose(2, 0, 1)[None]})
    print(file, classes[logits[0].argmax()])
