"""Install `vloc_models` (no ROS) and `vloc_ros`, for pip and for colcon alike."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = 'vloc_ros'
# These have no wheel for Arm: PoseLib is built from source there (docs/install_on_a_robot.md), and
# Embree, which draws the synthetic worlds, is done without.
NOT_ARM = '; platform_machine != "aarch64" and platform_machine != "arm64"'

# Ranges, not pins: robots bring their own versions, numpy 1 and OpenCV 4 up to Jazzy among them.
# requirements/pins.txt holds the exact versions of the development environment.
REQUIRES = [
    'numpy>=1.22,<3',
    'scipy>=1.8,<2',
    'opencv-python-headless>=4.8,<6',
    'torch>=2.6,<3',
    'onnxruntime>=1.16,<2',
    'poselib>=2.0.4,<3' + NOT_ARM,
    'rosbags>=0.11.7,<0.12',
    'rosbags-image>=0.10.4,<0.11',
    'safetensors>=0.4,<1',
    'tyro>=0.9,<2',
    'rich>=13,<16',
    'matplotlib>=3.5,<4',
    'pyyaml>=5.4,<7',
    'dacite>=1.8,<2',
    'threadpoolctl>=3.1,<4',
    'embreex>=2.17,<5' + NOT_ARM,
    'faiss-cpu>=1.8,<2',
]

# Needed to make maps, not to use them, so they travel with torch, not with a robot.
MAPPING = ['onnx>=1.16,<2', 'onnxscript>=0.3,<1', 'scikit-learn>=1.4,<2']
TEST = [
    'ray>=2.40,<3',  # a cluster of worker processes, on this machine
    'pytest>=8',
    'pytest-timeout>=2.3',
    'pytest-xdist>=3.5',
    'pytest-rerunfailures>=14',
    'hypothesis>=6.100',
    # the filter is compared with its batch solution; it has no wheels for Python 3.10
    'gtsam>=4.3,<5; python_version >= "3.11"',
]
# pyright[nodejs] carries its node.js in a wheel; the plain one would download it at the first run.
LINT = ['ruff>=0.12', 'pyright[nodejs]>=1.1.405']

setup(
    name=NAME,
    version='0.1.0',
    description='Camera relocalization with an honest confidence, for ROS 2 and without it',
    author='vloc authors',
    author_email='vloc@example.com',
    maintainer='vloc',
    maintainer_email='vloc@example.com',
    license='Apache-2.0',
    packages=find_packages(include=['vloc_models', 'vloc_models.*', 'vloc_ros', 'vloc_ros.*']),
    package_data={'vloc_models': ['py.typed', 'weights/*']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (f'share/{NAME}', ['package.xml']),
        (f'share/{NAME}/launch', [str(p) for p in sorted(Path('launch').glob('*'))]),
        (f'share/{NAME}/config', [str(p) for p in sorted(Path('config').glob('*.yaml'))]),
        (
            f'share/{NAME}/config/examples',
            [str(p) for p in sorted(Path('config/examples').glob('*'))],
        ),
        (f'share/{NAME}/rviz', [str(p) for p in sorted(Path('rviz').glob('*'))]),
        (f'share/{NAME}/foxglove', [str(p) for p in sorted(Path('foxglove').glob('*'))]),
    ],
    python_requires='>=3.10',
    install_requires=REQUIRES + MAPPING,
    extras_require={
        'test': TEST,
        'dev': [*TEST, *LINT, 'colcon-common-extensions>=0.3'],
        'viewer': ['rerun-sdk>=0.20'],
        'sfm': ['pycolmap>=3.11'],
        'posegraph': ['gtsam>=4.2'],
        'cluster': ['ray>=2.40'],
        'tensorrt': ['tensorrt>=8.6'],
    },
    zip_safe=False,
    entry_points={
        'console_scripts': [
            'vloc = vloc_models.commands.main:main',
            'localizer_node = vloc_ros.localizer_node:main',
            'mapping_node = vloc_ros.mapping_node:main',
            'bag_player_node = vloc_ros.bag_player_node:main',
        ]
    },
)
