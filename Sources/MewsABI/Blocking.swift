import CMews
import MewsCore

@c @implementation public func mews_blocking_begin() { CompletionPort.current?.blockingBegin() }

@c @implementation public func mews_blocking_end() { CompletionPort.current?.blockingEnd() }
