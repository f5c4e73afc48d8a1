"""`locadv prepare caltech101` on archives that the tests make: outlines, splits, damaged files, unsafe archives."""

import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile

import cv2
import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds

import locadv
import locadv_tf as la
from locadv_tf.data import caltech101
from locadv_tf.data.prepared import builder_of

COUNTS = {"anchor": 8, "airplanes": 10, "Leopards": 6}  # "airplanes" is called Airplanes_Side_2 among the annotations
HEIGHT, WIDTH = 40, 60


def annotation(top=10, bottom=30, left=15, right=45):
    """An outline as MATLAB writes it: a rectangle, counted from 1 and from its box's corner; the box is uint8."""
    box = np.array([[top, bottom, left, right]], np.uint8)
    contour = np.array([[0, right - left, right - left, 0], [0, 0, bottom - top, bottom - top]], float) + 0.5
    file = io.BytesIO()
    scipy.io.savemat(file, {"obj_contour": contour, "box_coord": box})
    return file.getvalue()


def photograph(i, grey=False):
    pixels = np.full((HEIGHT, WIDTH) if grey else (HEIGHT, WIDTH, 3), 20 + i, np.uint8)
    pixels[10:30, 15:45] = 200
    return cv2.imencode(".jpg", pixels)[1].tobytes()


@pytest.fixture(scope="module")
def toy():
    """`{path: content}` of both archives: one photograph is grey, one annotation damaged, one missing, one empty."""
    images, outlines = {"101_ObjectCategories/BACKGROUND_Google/image_0001.jpg": photograph(0)}, {}
    for category, count in COUNTS.items():
        folder = {"airplanes": "Airplanes_Side_2"}.get(category, category)
        for i in range(1, count + 1):
            images[f"101_ObjectCategories/{category}/image_{i:04}.jpg"] = photograph(i, grey=i == 2)
            outlines[f"Annotations/{folder}/annotation_{i:04}.mat"] = annotation()
    outlines["Annotations/Airplanes_Side_2/annotation_0003.mat"] = annotation()[:150]
    del outlines["Annotations/Airplanes_Side_2/annotation_0004.mat"]
    outlines["Annotations/anchor/annotation_0005.mat"] = annotation(200, 220, 200, 220)  # outside
    images["101_ObjectCategories/anchor/._image_0001.jpg"] = b"what a Mac leaves"
    return images, outlines


def write(files, path):
    """The files as a folder, a .tar.gz or a .zip, as the path's ending says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    elif path.suffix == ".gz":
        with tarfile.open(path, "w:gz") as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    else:
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
        return path / next(iter(files)).split("/")[0]
    return path


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "sets"))
    return tmp_path / "sets"


@pytest.fixture(scope="module")
def prepared(toy, tmp_path_factory):
    """What the command left and said, from a .tar.gz and a .zip."""
    folder = tmp_path_factory.mktemp("caltech101")
    images, outlines = (write(files, folder / name) for files, name in zip(toy, ("i.tar.gz", "a.zip"), strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(folder / "sets"))
        made = caltech101.prepare(images, outlines, name="toy_outlines")
    return folder / "sets", made


def test_the_set_is_as_the_prepared_one(prepared, monkeypatch):
    folder, made = prepared
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    builder = builder_of("toy_outlines")
    held = {key: (type(feature).__name__, feature.shape) for key, feature in builder.info.features.items()}
    assert held == {
        "file_name": ("Text", ()),
        "image": ("Image", (None, None, 3)),
        "label": ("ClassLabel", ()),
        "segmentation_mask": ("Image", (None, None, 1)),
    }
    assert la.class_names("toy_outlines") == ["airplanes", "anchor", "Leopards"]  # the prepared set's order
    assert sorted(made.left_out) == [
        "airplanes/image_0003.jpg", "airplanes/image_0004.jpg", "anchor/image_0005.jpg"
    ]  # fmt: skip
    assert made.sizes == {"train": 6 + 5 + 4, "test": 2 + 2 + 2}


def test_images_masks_and_splits(prepared, monkeypatch):
    folder, _ = prepared
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    builder, where = builder_of("toy_outlines"), {}
    for split in ("train", "test"):
        for example in tfds.as_numpy(builder.as_dataset(split=split)):
            name = example["file_name"].decode()
            where.setdefault(name.split("/")[0], {})[name] = split
            rows, columns = np.nonzero(example["segmentation_mask"][..., 0])
            # The corners are at 10.5 to 30.5 and 15.5 to 45.5, where MATLAB calls the first pixel's middle 1.
            assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 29, 15, 44)
            assert len(rows) == 20 * 30 and example["image"].shape == (HEIGHT, WIDTH, 3)
            assert abs(example["image"][0, 0].mean() - 20 - int(name[-8:-4])) < 3  # its own photograph
    for names in where.values():
        order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
        quarter = {name for name in names if names[name] == "test"}
        assert quarter == set(order[: len(quarter)]) and abs(len(quarter) - len(order) / 4) <= 0.5
    images, _, masks = la.to_arrays(la.load_data("toy_outlines", "test", image_size=(20, 20)))
    np.testing.assert_array_equal(masks[..., 0], images.mean(axis=-1) < 0.4)


def test_folders_and_archives_give_the_same(toy, prepared, data_dir, tmp_path, monkeypatch):
    images, outlines = (write(files, tmp_path / name) for files, name in zip(toy, ("i", "a.tar.gz"), strict=True))
    made = caltech101.prepare(images, outlines, categories=["Leopards", "anchor"], name="two")
    assert made.sizes == {"train": 9, "test": 4} and list(made.left_out) == ["anchor/image_0005.jpg"]
    assert la.class_names("two") == ["anchor", "Leopards"]


@pytest.mark.slow
def test_the_command_tells_what_is_left_out(toy, data_dir, tmp_path, capsys):
    images, outlines = (write(files, tmp_path / name) for files, name in zip(toy, ("i.zip", "a"), strict=True))
    asked = ["prepare", "caltech101", "--images", str(images), "--annotations", str(outlines)]
    assert locadv.main([*asked, "--categories", "airplanes,Leopards", "--name", "planes"]) == 0
    out, err = capsys.readouterr()
    *_, counts, how, path = out.splitlines()
    assert counts == "planes: 10 train images, 4 test images; left out without a usable outline: 2"
    assert path == str(data_dir / "planes" / "1.0.0") and 'la.load_data("planes", image_size=(64, 64))' in how
    assert "airplanes/image_0003.jpg is left out: the annotation cannot be read" in err
    assert "airplanes/image_0004.jpg is left out: there is no annotation" in err
    assert locadv.main([*asked, "--categories", "Leopards", "--name", "planes"]) == 2
    assert "is there already; expected a new set" in capsys.readouterr().err
    code = "import locadv_tf as la; print(la.load_data('planes', image_size=(8, 8)).cardinality().numpy())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)  # the builder is unknown there
    assert done.stdout == "9\n", done.stderr


@pytest.mark.parametrize("member", ["../../evil/image_0001.jpg", "/etc/image_0001.jpg", "a/../../image_0001.jpg"])
@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_members_that_point_out_of_the_archive_are_refused(toy, data_dir, tmp_path, member, ending):
    images, outlines = toy
    bad = write(images | {member: photograph(1)}, tmp_path / f"i{ending}")
    with pytest.raises(ValueError, match="which points out of it; expected the official archive"):
        caltech101.prepare(bad, write(outlines, tmp_path / "a.zip"), name="evil")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", f"i{ending}"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "mnist"}, "name='mnist' is taken"),
        ({"name": "digits"}, "name='digits' is taken"),
        ({"name": "a/b"}, "name='a/b' is taken, or no name of a set"),
        ({"categories": ["dogs"]}, "category 'dogs' is unknown; expected some of airplanes, anchor, Leopards"),
        ({"images": "nowhere"}, "'nowhere' is not there; expected a folder or an archive"),
        ({"annotations": "images"}, "holds no annotation_0001.mat"),
        ({"images": "annotations"}, "holds no usable photograph of airplanes, anchor, Leopards"),
        ({"images": "half"}, "cannot be read"),
        ({"images": "text"}, "cannot be read"),
    ],
)
def test_bad_input_leaves_nothing(toy, data_dir, tmp_path, arguments, message):
    paths = {"images": write(toy[0], tmp_path / "i.tar.gz"), "annotations": write(toy[1], tmp_path / "a.tar.gz")}
    paths |= {"half": tmp_path / "half.tar.gz", "text": tmp_path / "text.zip", "nowhere": "nowhere"}
    paths["half"].write_bytes(paths["images"].read_bytes()[:-400])
    paths["text"].write_text("no archive")
    asked = {"images": "images", "annotations": "annotations"} | arguments
    asked |= {name: paths[asked[name]] for name in ("images", "annotations")}
    with pytest.raises(ValueError, match=message):
        caltech101.prepare(**asked)
    assert not data_dir.exists()


@pytest.mark.parametrize(
    ("held", "why"),
    [
        (None, "there is no annotation"),
        (b"", "cannot be read"),
        ({"obj_contour": np.ones((2, 1)), "box_coord": np.ones((1, 4))}, r"an outline of shape \(2, 1\)"),
        ({"obj_contour": np.ones((2, 9)), "box_coord": np.ones((1, 3))}, r"a box of shape \(1, 3\)"),
        ({"obj_contour": np.full((2, 9), np.nan), "box_coord": np.ones((1, 4))}, "leaves the image"),
        ({"obj_contour": np.full((2, 9), 1e9), "box_coord": np.ones((1, 4))}, "leaves the image"),
        ({"obj_contour": np.ones((2, 9))}, "cannot be read"),
        ({"obj_contour": np.array([[200, 210, 205], [1, 1, 9]]), "box_coord": np.ones((1, 4))}, "holds no pixel"),
    ],
)
def test_unusable_outlines_say_why(held, why):
    if isinstance(held, dict):
        file = io.BytesIO()
        scipy.io.savemat(file, held)
        held = file.getvalue()
    with pytest.raises(caltech101.Unusable, match=why):
        caltech101.outline_mask(held, HEIGHT, WIDTH)
