import CMews
import MewsCore
import MewsServer

@c @implementation public func mews_blocking_begin() {
  Exchange.threadWillBlock()
  CompletionPort.current?.blockingBegin()
}

@c @implementation public func mews_blocking_end() { CompletionPort.current?.blockingEnd() }
