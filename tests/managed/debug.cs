// SPDX-License-Identifier: MIT
// Runs a program as its debugger, and returns its exit code and 10.
//
// debug PROGRAM [ARGUMENTS]
using System;
using System.Runtime.InteropServices;

class Debug
{
    const uint DebugOnlyThisProcess = 2;
    // DEBUG_EVENT: kind, process, thread, and a union as aligned as a pointer. An exception and the end
    // of a process begin with their code.
    const int EventSize = 176;
    static readonly int codeOffset = IntPtr.Size == 8 ? 16 : 12;
    const uint ExceptionEvent = 1;
    const uint ExitProcessEvent = 5;
    const uint Continue = 0x00010002;
    const uint ExceptionNotHandled = 0x80010001;
    const uint Breakpoint = 0x80000003;
    const uint BreakpointOnX86 = 0x4000001f;

    [StructLayout(LayoutKind.Sequential, CharSet = CharSet.Unicode)]
    struct StartupInfo
    {
        public int Size;
        public string Reserved, Desktop, Title;
        public int X, Y, Width, Height, Columns, Rows, Fill, Flags;
        public short Show, ReservedSize;
        public IntPtr ReservedBytes, Input, Output, Error;
    }

    struct ProcessInformation
    {
        public IntPtr Process, Thread;
        public uint ProcessId, ThreadId;
    }

    [DllImport("kernel32", CharSet = CharSet.Unicode, ExactSpelling = true, SetLastError = true)]
    static extern bool CreateProcessW(string program, string commandLine, IntPtr process,
        IntPtr thread, bool inherit, uint flags, IntPtr environment, string folder,
        ref StartupInfo startup, out ProcessInformation information);

    [DllImport("kernel32")]
    static extern bool WaitForDebugEvent([Out] byte[] debugEvent, uint milliseconds);

    [DllImport("kernel32")]
    static extern bool ContinueDebugEvent(uint process, uint thread, uint status);

    static int Main(string[] args)
    {
        var startup = new StartupInfo { Size = Marshal.SizeOf(typeof(StartupInfo)) };
        ProcessInformation information;
        if (!CreateProcessW(null, string.Join(" ", args), IntPtr.Zero, IntPtr.Zero, true,
            DebugOnlyThisProcess, IntPtr.Zero, null, ref startup, out information))
        {
            return 1;
        }
        var debugEvent = new byte[EventSize];
        while (WaitForDebugEvent(debugEvent, 10000))
        {
            uint kind = BitConverter.ToUInt32(debugEvent, 0);
            uint code = BitConverter.ToUInt32(debugEvent, codeOffset);
            bool handled = kind != ExceptionEvent || code == Breakpoint || code == BreakpointOnX86;
            ContinueDebugEvent(BitConverter.ToUInt32(debugEvent, 4),
                BitConverter.ToUInt32(debugEvent, 8), handled ? Continue : ExceptionNotHandled);
            if (kind == ExitProcessEvent)
            {
                return 10 + (int)code;
            }
        }
        return 2;
    }
}
