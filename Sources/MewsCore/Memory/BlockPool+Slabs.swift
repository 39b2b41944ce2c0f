import Glibc
import Synchronization

/// One mapping of a pool: the storage of its blocks first, so that it starts on a page, then this record, then the
/// headers of the blocks. A slab of headers for external blocks has no storage.
struct Slab {
  var next: UnsafeMutablePointer<Slab>?
  var mapping: UnsafeMutableRawPointer
  var byteCount: Int
}

extension BlockPool {
  /// Headers that are mapped at once for external blocks: with the record before them, a page.
  private static let headersPerSlab = 63

  /// A batch of free blocks for a cache. nil at the limit or when memory is exhausted.
  func takeBlocks() -> BlockBatch? {
    while true {
      storage.pointee.lock.lock()
      let batch = storage.pointee.blocks.pop()
      storage.pointee.lock.unlock()
      if let batch { return batch }
      // Another thread may take all of the new slab at once: then another slab, or the limit.
      guard addSlab() else { return nil }
    }
  }

  /// A batch of free headers for external blocks. nil when memory is exhausted.
  func takeHeaders() -> BlockBatch? {
    while true {
      storage.pointee.lock.lock()
      let batch = storage.pointee.headers.pop()
      storage.pointee.lock.unlock()
      if let batch { return batch }
      guard addHeaderSlab() else { return nil }
    }
  }

  /// Counts bytes against the limit. false when they would exceed it.
  func claim(_ byteCount: Int) -> Bool {
    var bytes = storage.pointee.bytes.load(ordering: .relaxed)
    while byteCount <= storage.pointee.limit &- bytes {
      let (exchanged, original) = storage.pointee.bytes.weakCompareExchange(
        expected: bytes, desired: bytes &+ byteCount, ordering: .relaxed)
      if exchanged { return true }
      bytes = original
    }
    return false
  }

  /// Takes bytes off the count again.
  func unclaim(_ byteCount: Int) {
    storage.pointee.bytes.wrappingSubtract(byteCount, ordering: .relaxed)
  }

  /// Maps a slab; near the limit, a smaller one that still fits. The mapping is made outside the lock.
  func addSlab() -> Bool {
    var count = BlockPool.blocksPerSlab
    while !claim(count &* BlockPool.blockSize) {
      let left = storage.pointee.limit &- storage.pointee.bytes.load(ordering: .relaxed)
      count = min(count &- 1, left / BlockPool.blockSize)
      if count <= 0 { return false }
    }
    let kind: Block.Kind = storage.pointee.debug.contains(.poison) ? .guarded : .pooled
    guard let slab = BlockPool.mapSlab(dataBytes: count &* BlockPool.blockSize, headers: count) else {
      unclaim(count &* BlockPool.blockSize)
      return false
    }
    for index in 0..<count {
      let bytes = slab.pointee.mapping + index &* BlockPool.blockSize
      BlockPool.header(index, of: slab).initialize(
        to: Block(
          bytes: bytes.assumingMemoryBound(to: UInt8.self), capacity: UInt32(BlockPool.blockSize), kind: kind))
    }
    storage.pointee.lock.lock()
    slab.pointee.next = storage.pointee.firstSlab
    storage.pointee.firstSlab = slab
    storage.pointee.slabBlockCount &+= count
    BlockPool.forEachBatch(of: slab, count: count) { head, batchCount in
      if kind == .guarded {
        storage.pointee.returned.append(BlockBatch(head: head, count: batchCount))
      } else {
        storage.pointee.blocks.push(head, count: batchCount)
      }
    }
    storage.pointee.lock.unlock()
    return true
  }

  private func addHeaderSlab() -> Bool {
    let count = BlockPool.headersPerSlab
    guard let slab = BlockPool.mapSlab(dataBytes: 0, headers: count) else { return false }
    for index in 0..<count {
      let header = BlockPool.header(index, of: slab)
      let bytes = UnsafeMutableRawPointer(header).assumingMemoryBound(to: UInt8.self)
      header.initialize(to: Block(bytes: bytes, capacity: 0, kind: .external))
    }
    storage.pointee.lock.lock()
    slab.pointee.next = storage.pointee.firstSlab
    storage.pointee.firstSlab = slab
    storage.pointee.headerCount &+= count
    BlockPool.forEachBatch(of: slab, count: count) { head, batchCount in
      storage.pointee.headers.push(head, count: batchCount)
    }
    storage.pointee.lock.unlock()
    return true
  }

  /// Gives the pages of a batch back to the kernel, neighbours in one call.
  static func evictPages(of batch: BlockBatch) {
    var runStart = batch.head.pointee.bytes
    var runBytes = 0
    var block: BlockPointer? = batch.head
    while let current = block {
      if current.pointee.bytes != runStart + runBytes {
        madvise(runStart, runBytes, MADV_DONTNEED)
        runStart = current.pointee.bytes
        runBytes = 0
      }
      runBytes &+= blockSize
      block = current.pointee.next
    }
    madvise(runStart, runBytes, MADV_DONTNEED)
  }

  private static func mapSlab(dataBytes: Int, headers: Int) -> UnsafeMutablePointer<Slab>? {
    let byteCount = dataBytes &+ (headers &+ 1) &* Block.headerStride
    guard
      let mapping = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      mapping != MAP_FAILED
    else { return nil }
    let slab = (mapping + dataBytes).bindMemory(to: Slab.self, capacity: 1)
    slab.initialize(to: Slab(next: nil, mapping: mapping, byteCount: byteCount))
    return slab
  }

  private static func header(_ index: Int, of slab: UnsafeMutablePointer<Slab>) -> BlockPointer {
    (UnsafeMutableRawPointer(slab) + (index &+ 1) &* Block.headerStride).assumingMemoryBound(to: Block.self)
  }

  /// Links the blocks of a new slab into batches.
  private static func forEachBatch(
    of slab: UnsafeMutablePointer<Slab>, count: Int, _ body: (BlockPointer, Int) -> Void
  ) {
    var first = 0
    while first < count {
      let batchCount = min(batchSize, count &- first)
      for index in first..<(first &+ batchCount &- 1) {
        header(index, of: slab).pointee.next = header(index &+ 1, of: slab)
      }
      body(header(first, of: slab), batchCount)
      first &+= batchCount
    }
  }
}
