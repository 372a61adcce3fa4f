variable "bucket" {
  description = "Name of the bucket. It also begins the names of the roles and is the key's alias. 3 to 57 lower-case letters, digits and dashes; no dots, which TLS certificates of virtual-hosted buckets don't cover."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,55}[a-z0-9]$", var.bucket))
    error_message = "bucket must be 3 to 57 lower-case letters, digits and dashes, beginning and ending with a letter or digit."
  }
}

variable "lock_mode" {
  description = "GOVERNANCE, which whoever has s3:BypassGovernanceRetention can lift, or COMPLIANCE, which nobody can, the account's root user included. The same as audit.s3_object_lock_mode."
  type        = string
  default     = "GOVERNANCE"
  nullable    = false

  validation {
    condition     = contains(["GOVERNANCE", "COMPLIANCE"], var.lock_mode)
    error_message = "lock_mode must be GOVERNANCE or COMPLIANCE."
  }
}

variable "retention_days" {
  description = "How long each object is locked, in days. The bucket's default, and the least that its policy lets the writer ask for. The same as audit.s3_retention_days."
  type        = number
  default     = 365
  nullable    = false

  validation {
    condition     = var.retention_days >= 1 && var.retention_days <= 36500 && floor(var.retention_days) == var.retention_days
    error_message = "retention_days must be a whole number from 1 to 36500."
  }
}

variable "archive_after_days" {
  description = "Age in days at which objects of 128 KiB and more move to Glacier Instant Retrieval. The other Glacier classes would have to be restored before anything could be verified."
  type        = number
  default     = 90
  nullable    = false

  validation {
    condition     = var.archive_after_days >= 1 && floor(var.archive_after_days) == var.archive_after_days
    error_message = "archive_after_days must be a whole number from 1 up."
  }
}

variable "expire_after_days" {
  description = "Age in days at which objects expire. Not before retention_days, for until then the lock keeps them anyway, and after archive_after_days."
  type        = number
  default     = 730
  nullable    = false

  validation {
    condition     = var.expire_after_days >= var.retention_days && floor(var.expire_after_days) == var.expire_after_days
    error_message = "expire_after_days must be a whole number and at least retention_days."
  }

  validation {
    condition     = var.expire_after_days > var.archive_after_days
    error_message = "expire_after_days must be more than archive_after_days."
  }
}

variable "noncurrent_expire_after_days" {
  description = "How many days a version is kept after it stopped being the current one. S3 counts from then, and expiry at expire_after_days is what makes a version noncurrent: a version is gone after the sum of both. A version that is still locked stays until its lock ends."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.noncurrent_expire_after_days >= 1 && floor(var.noncurrent_expire_after_days) == var.noncurrent_expire_after_days
    error_message = "noncurrent_expire_after_days must be a whole number from 1 up."
  }
}

variable "writer" {
  description = "Who may assume the writer's role, which Sallyport runs with. role_arns: roles and users. oidc: workloads with a token of an OIDC provider of this account (IRSA), of exactly these subjects. services: AWS services that hand the role to what they run."
  type = object({
    role_arns = optional(list(string), [])
    oidc = optional(object({
      provider_arn = string
      subjects     = list(string)
      audience     = optional(string, "sts.amazonaws.com")
    }))
    services = optional(list(string), [])
  })
  nullable = false

  validation {
    condition     = length(var.writer.role_arns) + length(var.writer.services) + (var.writer.oidc == null ? 0 : 1) > 0
    error_message = "writer must name somebody: role_arns, oidc or services."
  }

  validation {
    condition     = alltrue([for arn in var.writer.role_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[A-Za-z0-9+=,.@_/-]+$", arn))])
    error_message = "writer.role_arns must be ARNs of single roles or users; not accounts, and no wildcards."
  }

  validation {
    condition = var.writer.oidc == null ? true : (
      can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:oidc-provider/[^*?]+$", var.writer.oidc.provider_arn)) &&
      length(var.writer.oidc.subjects) > 0 && alltrue([for s in concat(var.writer.oidc.subjects, [var.writer.oidc.audience]) : can(regex("^[^*?]+$", s))])
    )
    error_message = "writer.oidc needs the ARN of an OIDC provider, and subjects and an audience without wildcards."
  }

  validation {
    condition     = alltrue([for s in var.writer.services : contains(["ec2.amazonaws.com", "ecs-tasks.amazonaws.com", "pods.eks.amazonaws.com"], s)])
    error_message = "writer.services may be ec2.amazonaws.com, ecs-tasks.amazonaws.com and pods.eks.amazonaws.com."
  }
}

variable "reader_role_arns" {
  description = "Roles and users that may assume the reader's role, which runs `sallyport audit verify` and reads the bucket's configuration. Empty: no such role is made."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.reader_role_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[A-Za-z0-9+=,.@_/-]+$", arn))])
    error_message = "reader_role_arns must be ARNs of single roles or users; not accounts, and no wildcards."
  }
}

variable "deletion_role_arns" {
  description = "Roles whose own rights to delete and to bypass governance the bucket's policy leaves alone; it denies both to all others. Locks hold against these roles as against anybody. Empty in production."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.deletion_role_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$", arn))])
    error_message = "deletion_role_arns must be ARNs of single roles; not accounts, and no wildcards."
  }
}

variable "access_log_bucket" {
  description = "Name of another bucket, in the same account and region, for S3's server access logs. It must let logging.s3.amazonaws.com write. It can't be this one: S3 delivers no logs into a bucket with a default retention. Null: no access logs."
  type        = string
  default     = null

  validation {
    condition     = var.access_log_bucket != var.bucket
    error_message = "access_log_bucket must be another bucket: S3 delivers no access logs into one with a default retention."
  }
}

variable "tags" {
  description = "Tags of everything that can have some."
  type        = map(string)
  default     = {}
  nullable    = false
}
