"""Classes that modules of torch's families import from elsewhere, where pickles do not look for them.

Found by walking the modules of torch 2.13; tests/pickle/test_policy.py looks through those that are loaded.
"""

from __future__ import annotations

from typing import Final

_NAMES: Final = """
    IO SHARDING_PRIORITIES T
    AbstractSet ActivationWrapper Annotated AnyStr Args ArgsType Argument AsyncCollectiveTensor
    AsyncGenerator AsyncIterable AsyncIterator Awaitable BinaryIO BroadcastingList1
    BroadcastingList2 BroadcastingList3 ByteString CPBuffer CPBufferContainer CPBufferSeqDims
    ChainMap ChunkStorageMetadata ClassVar Concatenate ConstantIntNode ConvT Coroutine
    DFIterDataPipe DataChunk DataPipe DataPipeGraph DefaultDict Deque Device DeviceDict
    DeviceDtypeDict DeviceLikeType Dict DimMap DimOrDims DimsSequenceType DimsType DispatchKey
    DispatchKeySet EdgeOrNode ExceptionWrapper ExitStack ExportGraphSignature ExportedProgram
    FPGM_pruner FakeProcessGroup FakeTensor FakeTensorMode Final FlattenFn FlattenFunc
    FlattenWithKeysFn FlattenWithKeysFunc FloatLikeType Fn Fn2 Fn3 FnAny ForwardRef
    FromDumpableContextFn FrozenSet GlobalOptimizerPostHook GlobalOptimizerPreHook Graph GraphModule
    GroupName GuardOnDataDependentSymNode HybridShardProcessGroupType Indices InputFnType
    InputPlacements IntLike IntLikeType IntTuple ItemsView IterDataPipe Join JoinHook Joinable
    KeyPath KeysView Kwargs KwargsType Layout LazyString Library LinearT List Literal LiteralString
    Lock MapDataPipe MapOnlyFn MappingView Match MaybeFromStrFunc MemoryProfile
    MemoryProfileTimeline MetadataIndex MutableSequence MutableSet NSFusionElType NSFusionType
    NSNodeTargetType NSResultsType NSSingleResultType NamedTuple Never NewType NoReturn Node
    NodePattern NotRequired ObserverOrFakeQuantize OpOverload OpaqueBase Optional OutputFnType
    OutputPlacements OutputSpecType ParamSpec ParamSpecArgs ParamSpecKwargs ParamsT PassBase
    PassResult Pattern PlacementList PlacementType ProcessGroup ProcessGroupType ProfilerActivity
    Py_TPFLAGS_BASETYPE QConfigAny RNNReturnType RRef RankType ReductionOpType Required Reversible
    SDPAParams Scope Self Set Shape ShapeType ShardOrder ShardPlacementFnResult Sharder StateDict
    SupportsBytes SupportsComplex SupportsRound SymInt T_module TensorListList TensorStorageMetadata
    TensorWriteData TextIO ToDumpableContextFn ToStrFunc TorchDispatchMode Tracer Ts Tuple Type
    Type2 Type3 TypeAlias TypeAliasType TypeAny TypeGuard TypeIs TypeVarTuple TypedDict UnflattenFn
    UnflattenFunc Union Unpack ValuesView WeakTensorKeyDictionary Work WriteItem WriteItemType
    _Backend _CallableMetadata _Conv1dMetadata _Conv2dMetadata _Conv3dMetadata
    _DTensor_OpSchema_post_init _DTensor_OpSchema_recompute_comparison_key _Dirichlet_backward
    _ExpandedSingleDimStrategyFunc _ExperimentalConfig _FanMode _FlashAttentionImpl _GradInputs
    _IterDataPipeSerializationWrapper _MapDataPipeSerializationWrapper _MatchResult
    _MatchResultWithQConfig _ModuleToHandleDict _MultiHandle _NonlinearityType _Number
    _ObserverOrFakeQuantizeConstructor _OpSchemaT _PlacementT _RankTypeT _ReduceOp _Reduction
    _RegisterFn _SIGCHLD_handler_set _ShardingIterDataPipe _ShardingPlaceholderT
    _ShardingStrategyFunc _SingleDimStrategyFunc _State _StateType _StrategyTypeT _T_co _T_dict
    _T_stack _T_tuple _TypeAlias
"""
FOREIGN: Final = frozenset(_NAMES.split())
