"""DICOM pictures: the window's law by hand, what is refused, and that nothing but pixels stays."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless

import explainers as ex
from explainers.loading import dicom
from explainers.loading.dicom import windowed
from explainers.loading.limits import Limits

VALUES = np.arange(-100, 92, 4).reshape(6, 8)


def scan(values=VALUES, slope=1.0, intercept=-1024.0, syntax=ExplicitVRLittleEndian, **more):
    """The bytes of a file whose rescaled values are these."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = syntax
    file = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    file.PatientName = "Mustermann^Erika"
    file.Rows, file.Columns = values.shape[-2:]
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 16
    file.HighBit, file.PixelRepresentation = 15, 0
    file.RescaleSlope, file.RescaleIntercept = slope, intercept
    for name, value in more.items():
        setattr(file, name, value)
    stored = np.round((values - intercept) / slope).astype(np.uint16)
    if syntax == RLELossless:
        file.compress(RLELossless, stored)
    else:
        file.PixelData = stored.tobytes()
    content = io.BytesIO()
    file.save_as(content, enforce_file_format=True)
    return content.getvalue()


def packed(**files):
    """A zip of these files."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, part in files.items():
            archive.writestr(f"{name}.dcm", part)
    return content.getvalue()


def by_hand(value, centre, width):
    """PS3.3 C.11.2.1.2.1 for one value, to 0..1."""
    if value <= centre - 0.5 - (width - 1) / 2:
        return 0.0
    if value > centre - 0.5 + (width - 1) / 2:
        return 1.0
    return (value - (centre - 0.5)) / (width - 1) + 0.5


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless], ids=lambda uid: uid.name)
def test_the_file_s_window_is_applied_to_rescaled_values(syntax):
    content = packed(a=scan(WindowCenter=[20, 400], WindowWidth=[80, 2000], syntax=syntax))
    data = ex.load_dataset(content, name="scans.zip")
    expected = np.vectorize(lambda value: by_hand(value, 20, 80))(VALUES)
    assert data.X.shape == (1, 1, 6, 8)
    np.testing.assert_allclose(data.X[0, 0], expected, atol=1e-6)
    assert 0 < (expected == 0).sum() < expected.size
    assert (expected == 1).sum() > 0
    assert "through a window" in " ".join(data.notes)
    assert "Mustermann" not in repr(data.notes) + repr(data.schema)


def test_the_caller_s_window_goes_first_and_slopes_count():
    values = VALUES * 0.5
    content = packed(a=scan(values, slope=0.5, WindowCenter=20, WindowWidth=80))
    data = ex.load_dataset(content, name="scans.zip", window=(0.0, 40.0))
    np.testing.assert_allclose(
        data.X[0, 0], np.vectorize(lambda value: by_hand(value, 0, 40))(values), atol=1e-6
    )


def test_without_a_window_values_are_stretched_and_said_to_be():
    data = ex.load_dataset(packed(a=scan()), name="scans.zip")
    np.testing.assert_allclose(data.X[0, 0], (VALUES + 100) / 188, atol=1e-6)
    assert "DICOM files without a window" in " ".join(data.notes)


def test_bones_that_are_stored_dark_are_shown_bright():
    dark = scan(WindowCenter=20, WindowWidth=80, PhotometricInterpretation="MONOCHROME1")
    light = scan(WindowCenter=20, WindowWidth=80)
    first, second = (ex.load_dataset(packed(a=content), name="s.zip").X for content in (dark, light))
    np.testing.assert_allclose(first, 1 - second, atol=1e-6)


def test_the_narrowest_window_is_a_step():
    np.testing.assert_array_equal(windowed(np.array([[-1.0, -0.5, 0.0, 1.0]]), (0.0, 1.0)), [[0, 0, 1, 1]])
    np.testing.assert_array_equal(windowed(np.full((2, 2), 3.0), None), np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (scan()[:200], "damaged DICOM|holds no picture|stored as nothing"),
        (scan()[:-40], "damaged DICOM"),
        (scan(syntax=DeflatedExplicitVRLittleEndian), "Save it without compression"),
    ],
    ids=["head only", "cut", "deflated"],
)
def test_damaged_and_packed_files_are_refused(content, message):
    with pytest.raises(ex.UnreadableFile, match=message):
        ex.load_dataset(packed(a=content), name="scans.zip")


def test_a_file_that_claims_to_be_large_is_refused_before_its_pixels_are_read(monkeypatch):
    def never(*_, **__):
        raise AssertionError("pixels were read")

    monkeypatch.setattr(dicom, "pixels", type("None", (), {"pixel_array": never}))
    with pytest.raises(ex.UnreadableFile, match="pixels"):
        ex.load_dataset(packed(a=scan(Rows=60_000, Columns=60_000)), name="s.zip", limits=Limits(pixels=1000))


def test_windows_must_be_windows_and_pydicom_be_there(monkeypatch):
    with pytest.raises(ex.InvalidSetting, match="width of at least 1"):
        ex.load_dataset(packed(a=scan()), name="s.zip", window=(0.0, 0.0))

    def missing(*_, **__):
        raise ModuleNotFoundError("pydicom")

    monkeypatch.setattr(dicom, "pydicom", type("None", (), {"dcmread": missing}))
    with pytest.raises(ex.UnreadableFile, match=r"pip install 'whyboard\[dicom\]'"):
        ex.load_dataset(packed(a=scan()), name="s.zip")
